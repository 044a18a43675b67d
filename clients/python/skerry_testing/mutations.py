"""Strategies of single changes and mutations, as a phone makes them that sees certain rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hypothesis import strategies as st

from core.changes import Change, Mutation, Operation
from core.ids import DeviceNumber, MutationCounter, RowId
from core.row import UNBORN
from skerry_testing.choice import choose, choose_some
from skerry_testing.history import START_H, space_of
from skerry_testing.payloads import DEVICES, ROW_IDS, informed_payloads

if TYPE_CHECKING:
    from collections.abc import Collection as Names
    from collections.abc import Mapping, Sequence

    from core.crdt.field import State
    from core.judge import RowKey
    from core.row import RowState
    from core.schema.app import App
    from core.schema.collection import Collection

CHANGES_MAX: Final = 2
"""Changes in one mutation: enough for two rows that stand or fall together."""
FIELDS_WRITTEN_MAX: Final = 3
"""Fields in one change; writes of few fields leave the others to be conflicted over."""
_UNSEEN: Final[Mapping[Any, Any]] = {}
_OF_LIVING: Final = (Operation.EDIT,) * 5 + (Operation.DELETE,)


@st.composite
def changes(
    draw: st.DrawFn,
    declared: type[Collection],
    *,
    view: Mapping[RowKey, RowState] = _UNSEEN,
    rows: Sequence[str] = ROW_IDS[:2],
    fields: Names[str] | None = None,
    role: str | None = None,
) -> Change[Any]:
    """One change of one of `rows`, payloads parsed.

    `view` holds the rows its author sees: a living row is edited or deleted, a dead one restored,
    an unknown one inserted. `fields` names those to write (all by default). With a `role`, what it
    may not do is left out where anything else can be done.
    """
    return draw_change(draw, declared, view=view, rows=rows, fields=fields, role=role)


@st.composite
def mutations(
    draw: st.DrawFn,
    app: App,
    *,
    device: int = DEVICES[0],
    counter: int = 1,
    h: int = START_H,
    view: Mapping[RowKey, RowState] = _UNSEEN,
    rows: Sequence[str] = ROW_IDS[:2],
    fields: Mapping[str, Names[str]] | None = None,
    roles: Mapping[str, str] | None = None,
) -> Mutation:
    """One mutation of a device: 1 or 2 changes of different rows.

    `fields` maps names of collections to the fields to write (collections that are not in it are
    left alone), `roles` kinds of spaces to the author's role; `view` and `rows` are as in
    `changes`. `h` is the device's clock value.
    """
    made = draw_changes(draw, app, view=view, rows=rows, fields=fields, roles=roles)
    return Mutation(DeviceNumber(device), MutationCounter(counter), h, made)


def draw_changes(
    draw: st.DrawFn,
    app: App,
    *,
    view: Mapping[RowKey, RowState],
    rows: Sequence[str],
    fields: Mapping[str, Names[str]] | None,
    roles: Mapping[str, str] | None,
) -> tuple[Change[Any], ...]:
    """Draw the changes of one mutation; the arguments are those of `mutations`."""
    names = sorted(app.collections if fields is None else fields)
    if roles is not None:
        # Somebody who may do nothing tries anyway, and is refused.
        names = [name for name in names if _may_act(app, name, view, rows, roles)] or names
    made: dict[RowKey, Change[Any]] = {}
    for _ in range(choose(draw, (1, 1, 1, CHANGES_MAX))):
        declared = app.collections[choose(draw, names)]
        change = draw_change(
            draw,
            declared,
            view=view,
            rows=rows,
            fields=None if fields is None else fields[declared.collection_name],
            role=None if roles is None else roles.get(declared.space_kind),
        )
        made.setdefault((change.collection, change.row), change)
    return tuple(made.values())


def draw_change(
    draw: st.DrawFn,
    declared: type[Collection],
    *,
    view: Mapping[RowKey, RowState],
    rows: Sequence[str],
    fields: Names[str] | None,
    role: str | None,
) -> Change[Any]:
    """Draw one change; the arguments are those of `changes`."""
    name = declared.collection_name
    possible = _possible(declared, view, rows, role) or _possible(declared, view, rows, None)
    row = RowId(choose(draw, sorted(possible)))
    before = view.get((name, row))
    operation = choose(draw, possible[row])
    change = Change[Any](
        name,
        row,
        operation,
        space_of(declared.space_kind) if before is None else before.space,
        seen=0 if before is None else before.alive[0],
        proposals=declared.fields,
    )
    if operation in (Operation.INSERT, Operation.EDIT):
        states = {} if before is None else before.fields
        least = 0 if operation is Operation.INSERT else 1
        names = _writable(declared, fields, role)
        for field in choose_some(draw, names, least=least, most=FIELDS_WRITTEN_MAX):
            spec, held = declared.fields[field], states.get(field)
            change.fields[field] = spec.parse(
                _payload(draw, declared, field, held, view=view, rows=rows)
            )
            if spec.is_register and held is not None:
                change.base[field] = held[0]
    return change


def _possible(
    declared: type[Collection],
    view: Mapping[RowKey, RowState],
    rows: Sequence[str],
    role: str | None,
) -> dict[str, list[Operation]]:
    """Return what can be done to which rows, by somebody with a role (None: by anybody)."""
    possible: dict[str, list[Operation]] = {}
    for row in rows:
        before = view.get((declared.collection_name, row))
        natural = _OF_LIVING
        if before is None or before.alive == UNBORN:
            natural = (Operation.INSERT,)
        elif not before.is_alive:
            natural = (Operation.RESTORE,)
        allowed = [one for one in natural if role is None or role in declared.access.roles(one)]
        if allowed:
            possible[row] = allowed
    return possible


def _writable(declared: type[Collection], fields: Names[str] | None, role: str | None) -> list[str]:
    chosen = sorted(declared.fields if fields is None else fields)
    return [
        name
        for name in chosen
        if role is None or (write := declared.fields[name].write) is None or role in write
    ] or chosen


def _payload(
    draw: st.DrawFn,
    declared: type[Collection],
    name: str,
    held: State,
    *,
    view: Mapping[RowKey, RowState],
    rows: Sequence[str],
) -> Any:  # noqa: ANN401  (each kind of field has its own)
    for reference in declared.references:
        if reference.field == name:
            living = [row for row in rows if _lives(view.get((reference.collection, row)))]
            empty = None if getattr(declared.fields[name], "is_nullable", False) else ""
            return choose(draw, [*(living or rows[:1]), empty])
    return draw(informed_payloads(declared.fields[name], held, rows=rows))


def _may_act(
    app: App,
    name: str,
    view: Mapping[RowKey, RowState],
    rows: Sequence[str],
    roles: Mapping[str, str],
) -> bool:
    declared = app.collections[name]
    role = roles.get(declared.space_kind)
    return role in declared.access.read and bool(_possible(declared, view, rows, role))


def _lives(row: RowState | None) -> bool:
    return row is not None and row.is_alive
