"""Transactions of the app: changes that stand or fall together, checked before they are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from core.crdt.field import Write
from core.ids import RowId, SpaceId, require_id
from core.row import UNBORN, RowState
from skerry_client.errors import RowExists, RowMissing, UnknownField, WriteTwice
from skerry_client.fold import fold_change
from skerry_client.operations import locally_refused, payload_of
from sync_protocol.messages.push import WireChange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from core.schema.collection import Collection
    from skerry_client.store import Store
    from sync_protocol.messages.push import WireMutation

Key = tuple[str, str]
Verb = Literal["insert", "edit", "delete", "restore"]


class Transaction:
    """Collects changes against the view; `commit` appends them to the queue as one mutation.

    Errors of values (FieldError, Refusal) and of rows (RowMissing, RowExists) are raised by the
    call that makes them, and leave the transaction as it was.
    """

    def __init__(
        self, store: Store, *, now_unix_ms: Callable[[], int], new_id: Callable[[], RowId]
    ) -> None:
        self._store = store
        self._now_unix_ms = now_unix_ms
        self._new_id = new_id
        self._changes: list[WireChange] = []
        self._before: dict[Key, RowState] = {}
        """Rows as they were before this transaction: what the person has seen."""
        self._views: dict[Key, RowState] = {}
        """Rows as this transaction leaves them, at a provisional time."""
        self._at = Write(store.clock(now_unix_ms()) + 1, store.device, store.counter + 1)

    def insert(
        self,
        collection: type[Collection],
        /,
        *,
        space: str,
        id: str | None = None,  # noqa: A002  (a row's id is called id everywhere)
        **fields: object,
    ) -> RowId:
        """Add a row to a space and return its id; `id` names it, else a new one is made."""
        name = collection.collection_name
        row_id = self._new_id() if id is None else RowId(require_id(id, kind="row id"))
        require_id(space, kind="space id")
        row = self._row(name, row_id)
        if row is not None and row.alive != UNBORN:
            raise RowExists(collection=name, row=row_id)
        self._take(
            collection, row or RowState(row_id, SpaceId(space)), "insert", fields, space=space
        )
        return row_id

    def edit(self, collection: type[Collection], row_id: str, /, **fields: object) -> None:
        """Write fields of a living row: plain values or operations."""
        if fields:
            self._take(collection, self._living(collection, row_id), "edit", fields)

    def delete(self, collection: type[Collection], row_id: str, /) -> None:
        """Delete a living row; concurrent edits are kept under its tombstone."""
        self._take(collection, self._living(collection, row_id), "delete", {})

    def restore(self, collection: type[Collection], row_id: str, /) -> None:
        """Bring a deleted row back, with everything that was merged meanwhile."""
        name = collection.collection_name
        row = self._row(name, row_id)
        if row is None or row.alive == UNBORN:
            raise RowMissing(collection=name, row=row_id)
        if not row.is_alive:
            self._take(collection, row, "restore", {})

    def replay(self, changes: Iterable[WireChange]) -> None:
        """Add changes of a refused mutation again, as written by somebody who sees the present."""
        for change in changes:
            collection = self._store.app.collections[change.collection]
            row = self._row(change.collection, change.id)
            payloads = {
                name: payload
                for name, payload in change.fields.items()
                if name in collection.fields
            }
            self._add(
                collection,
                row or RowState(RowId(change.id), SpaceId(change.space)),
                change.op,
                payloads,
                space=change.space,
            )

    def commit(self) -> WireMutation | None:
        """Store what was collected as one mutation; nothing collected stores nothing."""
        if not self._changes:
            return None
        return self._store.commit(self._changes, now_unix_ms=self._now_unix_ms(), fold=self._fold)

    def _fold(self, mutation: WireMutation, n: int) -> dict[Key, RowState]:
        """Fold the changes into the rows again, now at the mutation's own time."""
        at = Write(mutation.h, n, mutation.counter)
        views = dict(self._before)
        for change in mutation.changes:
            key = (change.collection, change.id)
            fields = self._store.app.collections[change.collection].fields
            views[key] = fold_change(views[key], change, at=at, fields=fields)
        return {key: views[key] for key in self._views}

    def _take(
        self, collection: type[Collection], row: RowState, operation: Verb,
        written: dict[str, object], *, space: str = "",
    ) -> None:  # fmt: skip
        """Turn what the app wrote into payloads, check them, and add the change."""
        before = self._before.get((collection.collection_name, row.id), row)
        payloads: dict[str, Any] = {}
        for name, value in written.items():
            field = collection.fields.get(name)
            if field is None:
                raise UnknownField(collection=collection.collection_name, field=name)
            state = (before if field.is_register else row).fields.get(name)
            payload = payloads[name] = payload_of(field, value, state)
            parsed = field.parse(payload)
            if locally_refused(field, value):
                field.admit(state, parsed, self._at)
        self._add(collection, row, operation, payloads, space=space)

    def _add(
        self, collection: type[Collection], row: RowState, operation: Verb,
        payloads: dict[str, Any], *, space: str,
    ) -> None:  # fmt: skip
        key = (collection.collection_name, row.id)
        before = self._before.get(key, row)
        change = WireChange(
            collection=collection.collection_name,
            id=row.id,
            op=operation,
            space=space,
            fields=payloads,
            base={
                name: state[0]
                for name in payloads
                if collection.fields[name].is_register
                and (state := before.fields.get(name)) is not None
            },
            seen=before.alive[0],
        )
        self._join(collection, change)
        self._before[key] = before
        self._views[key] = fold_change(row, change, at=self._at, fields=collection.fields)

    def _join(self, collection: type[Collection], change: WireChange) -> None:
        """Add a change; edits of a row that this transaction has written join that change.

        All changes of a mutation have one stamp, so a second write of a field could not win over
        the first: registers are overwritten here, anything else is an error.
        """
        places = (
            index
            for index, other in enumerate(self._changes)
            if (other.collection, other.id) == (change.collection, change.id)
        )
        first = next(places, None)
        if first is None:
            self._changes.append(change)
            return
        earlier = self._changes[first]
        if change.op in ("insert", "restore") or next(places, None) is not None:
            raise WriteTwice(collection=change.collection, row=change.id, field="alive")
        if change.op == "delete":
            self._changes.append(change)
            return
        for name in change.fields:
            if name in earlier.fields and not collection.fields[name].is_register:
                raise WriteTwice(collection=change.collection, row=change.id, field=name)
        self._changes[first] = msgspec.structs.replace(
            earlier,
            fields={**earlier.fields, **change.fields},
            base={**earlier.base, **change.base},
        )

    def _living(self, collection: type[Collection], row_id: str) -> RowState:
        row = self._row(collection.collection_name, row_id)
        if row is None or not row.is_alive:
            raise RowMissing(collection=collection.collection_name, row=row_id)
        return row

    def _row(self, collection: str, row_id: str) -> RowState | None:
        """Return a row as this transaction has left it so far."""
        key = (collection, row_id)
        return self._views[key] if key in self._views else self._store.view(collection, row_id)
