"""The phones that behaviour cases play with: real ones, each on a file of its own."""

from __future__ import annotations

from pathlib import Path
from types import new_class
from typing import TYPE_CHECKING, Any, Final, cast

from core import Access, AddWins, App, Collection, Counter, Lww
from skerry_client.operations import Add, AddElements, RemoveElements
from skerry_client.phone import Skerry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.crdt.field import Field

ROLE: Final = "member"
_SCALARS: Final = {"text": str, "integer": int, "number": float, "flag": bool}


class Phones:
    """Open phones by name; each method is one request."""

    def __init__(self) -> None:
        self._phones: dict[str, Skerry] = {}

    async def open(
        self, *, phone: str, folder: str, url: str, token: str, app: dict[str, Any], stream: bool
    ) -> None:
        """Open a phone's file; with `stream` it syncs in the background."""
        if phone in self._phones:
            raise ValueError(f"{phone} is open already")
        path = Path(folder) / f"{phone}.db"
        opened = Skerry(path, declared(app["declaration"]), url=url, token=token, background=stream)
        self._phones[phone] = opened
        if stream:
            await opened.connect()

    async def close(self, *, phone: str) -> None:
        """Close a phone's file."""
        closed = self._phones.pop(phone, None)
        if closed is not None:
            await closed.close()

    async def close_all(self) -> None:
        """Close every phone."""
        for name in list(self._phones):
            await self.close(phone=name)

    async def insert(
        self, *, phone: str, collection: str, row: str, space: str, fields: dict[str, Any]
    ) -> None:
        """Insert a row."""
        opened, kind = self._collection(phone, collection)
        opened.insert(kind, space=space, id=row, **_written(fields))

    async def edit(self, *, phone: str, collection: str, row: str, fields: dict[str, Any]) -> None:
        """Edit a row."""
        opened, kind = self._collection(phone, collection)
        opened.edit(kind, row, **_written(fields))

    async def delete(self, *, phone: str, collection: str, row: str) -> None:
        """Delete a row."""
        opened, kind = self._collection(phone, collection)
        opened.delete(kind, row)

    async def sync(self, *, phone: str) -> dict[str, Any]:
        """Do one full round and tell how it went."""
        status = await self._phones[phone].sync()
        return {"is_current": status.is_current, "fault": status.fault, "message": status.message}

    async def view(self, *, phone: str, collection: str) -> list[dict[str, Any]]:
        """Return the living rows as a person sees them."""
        opened, kind = self._collection(phone, collection)
        return [
            {
                "id": row.row_id,
                "space": row.space_id,
                "values": {name: _shown(row.read(field)) for name, field in kind.fields.items()},
            }
            for row in opened.rows(kind)
        ]

    async def pending(self, *, phone: str) -> list[int]:
        """Return the counters of the mutations without a final receipt."""
        return [queued.counter for queued in self._phones[phone].pending()]

    async def outcomes(self, *, phone: str) -> dict[str, Any]:
        """Return what a person is told of refused mutations and lost conflicts."""
        opened = self._phones[phone]
        return {
            "rejected": [
                {"counter": each.counter, "outcome": each.outcome, "code": each.code}
                for each in opened.rejected()
            ],
            "conflicts": [
                {
                    "collection": each.collection,
                    "row": each.id,
                    "field": each.field,
                    "winner": each.winner.value,
                    "loser": each.loser.value,
                }
                for each in opened.conflicts()
            ],
        }

    def _collection(self, phone: str, collection: str) -> tuple[Skerry, type[Collection]]:
        opened = self._phones[phone]
        return opened, opened.app.collections[collection]


def declared(declaration: dict[str, Any]) -> App:
    """Make the app of a declaration; raise ValueError for one that cannot be made here."""
    described = declaration["collections"]
    kinds: dict[str, Sequence[str]] = {each["space"]: [ROLE] for each in described.values()}
    app = App(declaration["app"], version=declaration["version"], spaces=kinds)
    for name, collection in described.items():
        fields = {field: _field(spec) for field, spec in collection["fields"].items()}
        body = {"access": Access(read=[ROLE]), **fields}
        keywords = {
            "space": collection["space"],
            "name": name,
            "edit_wins": collection["edit_wins"],
        }
        app.add(new_class(name.title(), (Collection,), keywords, lambda namespace, body=body: (
            namespace.update(body)
        )))  # fmt: skip
    if app.describe() != declaration:
        raise ValueError(f"this app would be declared otherwise here: {app.describe()}")
    return app


def _field(spec: dict[str, Any]) -> Field[Any]:
    kind = spec["kind"]
    if kind == "counter":
        return Counter()
    if kind == "add_wins":
        return AddWins(str)
    if kind == "lww":
        return Lww(_SCALARS[spec["scalar"]])
    raise ValueError(f"no field of kind {kind} is made here")


def _written(fields: dict[str, Any]) -> dict[str, Any]:
    """Turn the language-neutral operations into this client's own."""
    return {name: _operation(value) for name, value in fields.items()}


def _operation(value: Any) -> Any:  # noqa: ANN401  (a plain value, or an operation as a map)
    if not isinstance(value, dict):
        return value
    given = cast("dict[str, Any]", value)
    added, removed = given.get("add", []), given.get("remove", [])
    if isinstance(added, int):
        return Add(added)
    operations = [AddElements(*added)] if added else []
    return [*operations, RemoveElements(*removed)] if removed else operations


def _shown(value: object) -> object:
    """Return a value as JSON; sets are sorted."""
    return sorted(value) if isinstance(value, frozenset | set) else value  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
