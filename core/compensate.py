"""What a merge cannot keep, the primary keeps at ingest: uniqueness, references, trees.

Each check looks at rows through `RowLookup` and answers with a typed rejection or with changes of
the primary's own. The node looks them up in SQLite, the public testing module in memory.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol

from core.changes import Change, Operation
from core.crdt.field import Write
from core.crdt.tree_parent import TreeParent, closes_cycle
from core.errors import FieldError, Refusal
from core.ids import PRIMARY, RowId
from core.judge import LostWrite
from core.row import RowDelta, RowState, merge_delta
from core.rules import Reject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from core.constraints import Reference, Unique
    from core.judge import RowKey, Verdict
    from core.schema.app import App

DERIVED_MAX: Final = 10_000
"""Changes of the primary's own that one mutation may cause (a cascade over a large tree)."""


class RowLookup(Protocol):
    """What the checks ask about rows, as they stood before the mutation."""

    def load(self, collection: str, ids: Iterable[str]) -> Mapping[str, RowState]:
        """Return the rows that exist, by id."""
        ...

    def unique_holder(
        self, collection: str, fields: Sequence[str], values: Sequence[Any], space: str | None
    ) -> list[str]:
        """Return ids of at most two living rows with these register values."""
        ...

    def referrers(self, collection: str, field: str, target: str, space: str) -> list[str]:
        """Return the ids of living rows of a space whose `field` holds `target`."""
        ...


class Stored(Protocol):
    """Whatever has rows to look at: a unit of work, or a primary in memory."""

    @property
    def rows(self) -> RowLookup:
        """The rows."""
        ...


class Compensator:
    """Checks one mutation's deltas and adds the primary's own. Lives for one commit."""

    def __init__(self, app: App, unit: Stored, tick: Callable[[], int]) -> None:
        self._app = app
        self._unit = unit
        self._tick = tick
        self._referrers: dict[str, list[tuple[str, Reference]]] = {}
        for name, declared in app.collections.items():
            for reference in declared.references:
                self._referrers.setdefault(reference.collection, []).append((name, reference))
        self._constrained = constrained_collections(app)

    def needs_look(self, verdict: Verdict) -> bool:
        """Tell whether a verdict can concern anything but its own rows (the hot path says no)."""
        if verdict.derived:
            return True
        constrained = self._constrained
        if not constrained:
            return False
        return any(delta.collection in constrained for delta in verdict.deltas)

    def apply(
        self, verdict: Verdict, befores: dict[RowKey, RowState]
    ) -> tuple[list[RowDelta], Reject | None]:
        """Check an accepted verdict; return the primary's own deltas, or why it is rejected.

        `befores` gains every row that had to be loaded.
        """
        rows = _Overlay(self._app, self._unit, befores)
        own: list[RowDelta] = []
        for delta in verdict.deltas:
            rows.merge(delta)
        pending = deque((delta, True) for delta in verdict.deltas)
        changes = deque(verdict.derived)
        while pending or changes:
            if len(own) > DERIVED_MAX:
                return [], Reject("too-many-derived", "This would change too many rows at once.")
            if not pending:
                delta, rejection = self._own_delta(changes.popleft(), rows)
                if rejection is not None:
                    return [], rejection
                if delta is not None:
                    rows.merge(delta)
                    own.append(delta)
                    pending.append((delta, False))
                continue
            delta, is_authors = pending.popleft()
            rejection = self._check(delta, rows, changes, verdict if is_authors else None)
            if rejection is not None:
                return [], rejection
        return own, None

    def _check(
        self,
        delta: RowDelta,
        rows: _Overlay,
        changes: deque[Change[Any]],
        verdict: Verdict | None,
    ) -> Reject | None:
        declared = self._app.collections[delta.collection]
        for reference in declared.references:
            rejection = _check_reference(delta, reference, rows)
            if rejection is not None:
                return rejection
        for unique in declared.unique:
            rejection = self._check_unique(delta, unique, rows)
            if rejection is not None:
                return rejection
        if delta.alive is not None and not delta.alive[2]:
            rejection = self._follow_delete(delta, changes)
            if rejection is not None:
                return rejection
        for name in delta.fields:
            if isinstance(declared.fields[name], TreeParent):
                self._check_tree(delta, name, rows, changes, verdict)
        return None

    def _check_unique(self, delta: RowDelta, unique: Unique, rows: _Overlay) -> Reject | None:
        if delta.alive is None and not any(name in delta.fields for name in unique.fields):
            return None
        row = rows.get(delta.collection, delta.row)
        if row is None or not row.is_alive:
            return None
        states = [row.fields.get(name) for name in unique.fields]
        if any(state is None or state[2] is None for state in states):
            return None
        holders = self._unit.rows.unique_holder(
            delta.collection,
            unique.fields,
            [state[2] for state in states if state is not None],
            row.space if unique.scope == "space" else None,
        )
        if all(holder == delta.row for holder in holders):
            return None
        return Reject("not-unique", "Another row has these values already.", unique.fields)

    def _follow_delete(self, delta: RowDelta, changes: deque[Change[Any]]) -> Reject | None:
        for collection, reference in self._referrers.get(delta.collection, ()):
            ids = self._unit.rows.referrers(collection, reference.field, delta.row, delta.space)
            if not ids:
                continue
            if reference.on_delete == "reject":
                return Reject("row-referenced", f"Rows of {collection!r} still refer to this one.")
            for row_id in ids:
                if reference.on_delete == "cascade":
                    change = Change[Any](collection, RowId(row_id), Operation.DELETE, delta.space)
                else:
                    change = Change[Any](
                        collection,
                        RowId(row_id),
                        Operation.EDIT,
                        delta.space,
                        {reference.field: None},
                    )
                changes.append(change)
        return None

    def _check_tree(
        self,
        delta: RowDelta,
        name: str,
        rows: _Overlay,
        changes: deque[Change[Any]],
        verdict: Verdict | None,
    ) -> None:
        state = delta.fields[name]
        row = rows.get(delta.collection, delta.row)
        if state is None or row is None or row.fields.get(name) != state:
            return

        def parent_of(above: str) -> str | None:
            parent = rows.get(delta.collection, above)
            link = None if parent is None else parent.fields.get(name)
            return None if link is None else link[2]

        if not closes_cycle(delta.row, state[2], parent_of):
            return
        before = rows.original(delta.collection, delta.row)
        kept = None if before is None else before.fields.get(name)
        value = None if kept is None else kept[2]
        changes.append(
            Change(delta.collection, RowId(delta.row), Operation.EDIT, delta.space, {name: value})
        )
        if verdict is not None:
            winner = (value, kept[0], kept[1]) if kept is not None else (None, 0, 0)
            verdict.lost.append(
                LostWrite(
                    delta.collection, delta.row, delta.space, name, winner,
                    (state[2], state[0], state[1]), is_own=True,
                )
            )  # fmt: skip

    def _own_delta(
        self, change: Change[Any], rows: _Overlay
    ) -> tuple[RowDelta | None, Reject | None]:
        """Turn one change of the primary's own into a delta; None when there is nothing to do."""
        declared = self._app.collections.get(change.collection)
        if declared is None:
            return None, Reject("rule-failed", "A derived change names an unknown collection.")
        before = rows.get(change.collection, change.row)
        if before is None and change.operation is not Operation.INSERT:
            return None, None
        h = self._tick()
        at = Write(h, PRIMARY, h)
        states = before.fields if before is not None else {}
        try:
            admitted = {
                name: (spec := declared.fields[name]).admit(
                    states.get(name), spec.parse(payload), at
                )
                for name, payload in change.fields.items()
            }
        except (FieldError, Refusal) as error:
            return None, Reject("rule-failed", f"A derived change failed: {error}")
        except KeyError as error:
            return None, Reject("rule-failed", f"A derived change names no field {error}")
        fields = {name: state for name, state in admitted.items() if state is not None}
        space = change.space if before is None else before.space
        alive = None
        if change.operation is not Operation.EDIT:
            alive = (h, int(PRIMARY), change.operation is not Operation.DELETE)
        return RowDelta(change.collection, change.row, space, alive, fields), None


def constrained_collections(app: App) -> frozenset[str]:
    """Return the collections whose writes can concern other rows than their own."""
    constrained: set[str] = set()
    for name, declared in app.collections.items():
        is_tree = any(isinstance(field, TreeParent) for field in declared.fields.values())
        if declared.unique or declared.references or is_tree:
            constrained.add(name)
        constrained.update(reference.collection for reference in declared.references)
    return frozenset(constrained)


class _Overlay:
    """Rows as they will stand once the mutation is merged."""

    def __init__(self, app: App, unit: Stored, befores: dict[RowKey, RowState]) -> None:
        self._app = app
        self._unit = unit
        self._befores = befores
        self._merged: dict[RowKey, RowState] = {}

    def original(self, collection: str, row: str) -> RowState | None:
        key = (collection, row)
        if key not in self._befores:
            for row_id, state in self._unit.rows.load(collection, [row]).items():
                self._befores[(collection, row_id)] = state
        return self._befores.get(key)

    def get(self, collection: str, row: str) -> RowState | None:
        return self._merged.get((collection, row)) or self.original(collection, row)

    def merge(self, delta: RowDelta) -> None:
        before = self.get(delta.collection, delta.row) or RowState(RowId(delta.row), delta.space)
        fields = self._app.collections[delta.collection].fields
        self._merged[(delta.collection, delta.row)] = merge_delta(before, delta, fields)


def _check_reference(delta: RowDelta, reference: Reference, rows: _Overlay) -> Reject | None:
    state = delta.fields.get(reference.field)
    if state is None and delta.alive is not None and delta.alive[2]:
        row = rows.get(delta.collection, delta.row)
        if row is not None and row.is_alive:
            # It may have been dead while its target was deleted.
            state = row.fields.get(reference.field)
    if state is None or state[2] is None or state[2] == "":
        return None
    target = rows.get(reference.collection, state[2])
    if target is None or not target.is_alive or target.space != delta.space:
        return Reject(
            "reference-missing",
            f"{reference.field} refers to a row that is not there.",
            (reference.field,),
        )
    return None
