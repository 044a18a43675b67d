"""Rows over REST: typed reads of living rows, and writes that become mutations like any other."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from core import values as core_values
from core.crdt.ranked import Ranked
from core.errors import FieldError
from edge.errors import Forbidden, InvalidQuery, NotFound
from edge.ports import queries
from edge.services.access import ReadAccess
from edge.services.ingest.service import problem_of
from sync_protocol.messages.pushed import Receipt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.row import RowState
    from core.schema.app import App
    from core.schema.collection import Collection
    from edge.ports.stores import Database, Unit
    from edge.services.devices import Devices
    from edge.services.ingest.service import Ingest
    from edge.services.session import Principal
    from sync_protocol.messages.push import WireChange
    from sync_protocol.messages.pushed import Pushed

LIMIT_MAX: Final = 1_000
FILTERS_MAX: Final = 20
_CONTAINER_KINDS: Final = frozenset(
    {"add_wins", "flag", "multi_value", "map", "bounded_counter", "append_only"}
)


@dataclass(frozen=True, slots=True)
class Filter:
    """`field op value`; the value is of the field's own type, as a person sees it."""

    field: str
    op: queries.Comparison
    value: Any


@dataclass(frozen=True, slots=True)
class RowQuery:
    """What a person asks for; `sort` holds (field, is_descending)."""

    space: str | None = None
    where: list[Filter] = field(default_factory=list[Filter])
    sort: list[tuple[str, bool]] = field(default_factory=list[tuple[str, bool]])
    limit: int = 50
    after: str | None = None


@dataclass(frozen=True, slots=True)
class RowRead:
    """A row as a person sees it; `versions` are the clock values to send back as `base`."""

    id: str
    space: str
    sequence: int
    alive: bool
    values: dict[str, Any]
    versions: dict[str, int]


@dataclass(frozen=True, slots=True)
class RowList:
    """One page; `next` is the `after` of the following one, or None at the end."""

    rows: list[RowRead]
    next: str | None


class RowReads:
    """One tenant's rows, for people and back ends."""

    def __init__(self, app: App, database: Database) -> None:
        self._app = app
        self._database = database
        self._access = ReadAccess(app)

    async def get(self, principal: Principal, collection: str, row_id: str) -> RowRead:
        """Return one living row; raises NotFound when there is none that the person may read."""
        declared = self._declared(collection)
        state = await self._database.read(partial(self._find, principal, declared, row_id))
        if state is None:
            raise NotFound("There is no such row for you.")
        return _read(declared, state)

    async def list(self, principal: Principal, collection: str, query: RowQuery) -> RowList:
        """Return one page of living rows; raises InvalidQuery for what cannot be asked."""
        declared = self._declared(collection)
        checked = _checked(declared, query)
        states = await self._database.read(partial(self._search, principal, query.space, checked))
        rows = [_read(declared, state) for state in states[: query.limit]]
        more = len(states) > query.limit
        position = _position(declared, states[query.limit - 1], checked) if more else None
        return RowList(rows, position)

    def _declared(self, collection: str) -> type[Collection]:
        declared = self._app.collections.get(collection)
        if declared is None:
            raise NotFound("There is no such collection.")
        return declared

    def _find(
        self, principal: Principal, declared: type[Collection], row_id: str, unit: Unit
    ) -> RowState | None:
        collection = declared.collection_name
        state = unit.rows.load(collection, [row_id]).get(row_id)
        if state is None or not state.is_alive:
            return None
        member = unit.members.membership(principal.person, state.space)
        if member is None or collection not in self._access.collections(member):
            return None
        return state

    def _search(
        self, principal: Principal, space: str | None, query: queries.RowQuery, unit: Unit
    ) -> Sequence[RowState]:
        members = unit.members.of_person(principal.person)
        readable = tuple(
            member.space
            for member in members
            if query.collection in self._access.collections(member)
            and (space is None or member.space == space)
        )
        if not readable:
            if space is not None:
                raise Forbidden("There is no such space for you.")
            return []
        return unit.rows.search(replace(query, spaces=readable, limit=query.limit + 1))


class RowWrites:
    """REST writes: one mutation each, by the person's own REST device."""

    def __init__(self, ingest: Ingest, devices: Devices) -> None:
        self._ingest = ingest
        self._devices = devices

    async def apply(self, principal: Principal, changes: Sequence[WireChange]) -> Receipt:
        """Take one mutation; the receipt says what became of it (quarantined: it was malformed)."""
        device = await self._devices.rest_device(principal)
        try:
            pushed = await self._ingest.write(
                device=device, person=principal.person, changes=changes
            )
        except Exception as error:
            problem = problem_of(error)
            if problem is None:
                raise
            return Receipt(
                0, "quarantined", 0, 0, problem.code, problem.message, list(problem.fields)
            )
        return single_receipt(pushed)


def single_receipt(pushed: Pushed) -> Receipt:
    """Return the one receipt of an answer to one mutation."""
    if pushed.receipts:
        return pushed.receipts[-1]
    _, counter, sequence = pushed.merged[-1]
    return Receipt(counter, "merged", sequence)


def _read(declared: type[Collection], state: RowState) -> RowRead:
    fields = declared.fields
    return RowRead(
        state.id,
        state.space,
        state.sequence,
        state.is_alive,
        {name: to_json_value(spec.value(state.fields.get(name))) for name, spec in fields.items()},
        {
            name: held[0]
            for name, held in state.fields.items()
            if held is not None and name in fields and fields[name].is_register
        },
    )


def to_json_value(value: Any) -> Any:  # noqa: ANN401  (whatever a field type shows)
    """Return a field's value as JSON: sets sorted, tuples as lists, groups as objects."""
    if isinstance(value, frozenset | set):
        return sorted(cast("frozenset[str]", value))
    if isinstance(value, tuple):
        return list(cast("tuple[Any, ...]", value))
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return value


def _checked(declared: type[Collection], query: RowQuery) -> queries.RowQuery:
    if not 1 <= query.limit <= LIMIT_MAX:
        raise InvalidQuery(f"limit is 1 to {LIMIT_MAX}.")
    if len(query.where) > FILTERS_MAX:
        raise InvalidQuery(f"At most {FILTERS_MAX} filters.")
    order = tuple(queries.Order(_plain(declared, name), desc) for name, desc in query.sort)
    return queries.RowQuery(
        declared.collection_name,
        (),
        tuple(_filter(declared, wanted) for wanted in query.where),
        order,
        query.limit,
        None if query.after is None else _decode_position(query.after, len(order)),
    )


def _plain(declared: type[Collection], name: str) -> str:
    if name in {"id", "sequence"}:
        return name
    spec = declared.fields.get(name)
    if spec is None:
        raise InvalidQuery(f"There is no field {name!r:.60}.")
    if spec.kind in _CONTAINER_KINDS or getattr(spec, "scalar_name", "") == "json":
        raise InvalidQuery(f"{name!r} holds no single value to compare by.")
    return name


def _filter(declared: type[Collection], wanted: Filter) -> queries.Filter:
    spec = declared.fields.get(wanted.field)
    if wanted.op == "contains":
        if spec is None or spec.kind != "add_wins":
            raise InvalidQuery("`contains` asks a set for an element.")
        return queries.Filter(wanted.field, "contains", str(wanted.value))
    name = _plain(declared, wanted.field)
    if wanted.op == "in":
        values = [_column_value(spec, item) for item in cast("list[Any]", wanted.value)]
        return queries.Filter(name, wanted.op, values)
    return queries.Filter(name, wanted.op, _column_value(spec, wanted.value))


def _column_value(spec: Any, value: Any) -> Any:  # noqa: ANN401
    if isinstance(spec, Ranked):
        try:
            return spec.parse(value)[1]
        except FieldError as error:
            raise InvalidQuery(error.message) from error
    return int(value) if isinstance(value, bool) else value


def _position(declared: type[Collection], state: RowState, query: queries.RowQuery) -> str:
    values: list[Any] = []
    for order in query.order:
        if order.field in {"id", "sequence"}:
            values.append(getattr(state, order.field))
            continue
        spec = declared.fields[order.field]
        value = spec.value(state.fields.get(order.field))
        values.append(_column_value(spec, value))
    return urlsafe_b64encode(msgspec.json.encode([*values, state.id])).decode().rstrip("=")


def _decode_position(text: str, keys: int) -> tuple[Any, ...]:
    try:
        padded = text + "=" * (-len(text) % 4)
        decoded = msgspec.json.decode(urlsafe_b64decode(padded))
    except (ValueError, msgspec.MsgspecError, RecursionError):
        raise InvalidQuery("`after` is not the `next` of a page.") from None
    if not isinstance(decoded, list) or len(cast("list[Any]", decoded)) != keys + 1:
        raise InvalidQuery("`after` belongs to another order.")
    values = cast("list[Any]", decoded)
    try:
        return (*map(_comparable, values[:-1]), core_values.text(values[-1]))
    except FieldError:
        raise InvalidQuery("`after` is not the `next` of a page.") from None


def _comparable(value: object) -> object:
    """Return a value that SQLite can be given; raise FieldError for any other."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return core_values.text(value)
    return core_values.integer(value) if isinstance(value, int) else core_values.number(value)
