"""A primary in memory: the node's own judge, checks and reference merge, over a dict of rows.

What it lacks is what cannot change an outcome: SQL, group commits, digests, cursors.
"""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from core.clock import HybridClock, effective
from core.compensate import Compensator
from core.judge import Judge
from core.row import RowState, merge_delta
from core.rules import Reject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from core.changes import Mutation
    from core.ids import PersonId
    from core.judge import LostWrite, RowKey, Verdict
    from core.row import RowDelta
    from core.schema.app import App

_NOT_UNIQUE = Reject("not-unique", "Another row has these values already.")


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one mutation; `lost` are the writes that lost unseen, its own and others'.

    `code`, `message` and `fields` are as a phone gets them, empty when everything went in.
    """

    device: int
    counter: int
    outcome: Literal["merged", "superseded", "rejected"]
    code: str = ""
    message: str = ""
    fields: tuple[str, ...] = ()
    lost: tuple[LostWrite, ...] = ()


class Rows:
    """Rows of all collections, and the questions that the checks ask about them."""

    def __init__(self, app: App) -> None:
        self._app = app
        self.states: dict[RowKey, RowState] = {}

    def load(self, collection: str, ids: Iterable[str]) -> dict[str, RowState]:
        """Return the rows that exist, by id."""
        return {
            row: state for row in ids if (state := self.states.get((collection, row))) is not None
        }

    def unique_holder(
        self, collection: str, fields: Sequence[str], values: Sequence[Any], space: str | None
    ) -> list[str]:
        """Return ids of the living rows with these register values."""
        wanted = json.dumps(list(values))
        return [
            row.id
            for row in self.living(collection)
            if (space is None or row.space == space) and _values(row, fields) == wanted
        ]

    def referrers(self, collection: str, field: str, target: str, space: str) -> list[str]:
        """Return the ids of living rows of a space whose `field` holds `target`."""
        return [
            row.id
            for row in self.living(collection)
            if row.space == space
            and (state := row.fields.get(field)) is not None
            and state[2] == target
        ]

    def living(self, collection: str) -> list[RowState]:
        """Return the living rows of a collection, by id."""
        found = [row for (name, _), row in self.states.items() if name == collection]
        return sorted((row for row in found if row.is_alive), key=lambda row: row.id)

    def merge(self, delta: RowDelta) -> None:
        """Merge one delta with the reference merge."""
        key = (delta.collection, delta.row)
        before = self.states.get(key) or RowState(delta.row, delta.space)
        fields = self._app.collections[delta.collection].fields
        self.states[key] = merge_delta(before, delta, fields)

    def breaks_unique(self, collections: Iterable[str]) -> bool:
        """Tell whether two living rows of one of the collections share unique values."""
        for collection in collections:
            for unique in self._app.collections[collection].unique:
                held = [
                    (row.space if unique.scope == "space" else "", values)
                    for row in self.living(collection)
                    if (values := _values(row, unique.fields)) is not None
                ]
                if len(held) > len(set(held)):
                    return True
        return False


def _values(row: RowState, fields: Sequence[str]) -> str | None:
    """Return register values as JSON, which tells 1 from 1.0; None when one was never written."""
    states = [row.fields.get(name) for name in fields]
    if any(state is None or state[2] is None for state in states):
        return None
    return json.dumps([state[2] for state in states if state is not None])


@dataclass(slots=True)
class _Device:
    counter: int = 0
    effective: int = 0


@dataclass(slots=True)
class Primary:
    """Takes mutations one by one, each exactly once, in counter order per device.

    `role_in(person, space, kind)` returns a role or None.
    """

    app: App
    role_in: Callable[[PersonId, str, str], str | None]
    receipts: list[Receipt] = field(default_factory=list[Receipt])
    rows: Rows = field(init=False)
    _judge: Judge = field(init=False)
    _clock: HybridClock = field(default_factory=HybridClock)
    _devices: dict[int, _Device] = field(default_factory=dict[int, _Device])
    _now_ms: int = 0

    def __post_init__(self) -> None:
        """Start empty."""
        self.rows = Rows(self.app)
        self._judge = Judge(self.app)

    def merged_through(self, device: int) -> int:
        """Return the counter of a device's last mutation taken, 0 for none."""
        return self._devices[device].counter if device in self._devices else 0

    def take(self, mutation: Mutation, person: PersonId, now_ms: int) -> Receipt | None:
        """Judge and merge one mutation at `now_ms`; None: it was taken before (a repeat)."""
        device = self._devices.setdefault(mutation.device, _Device())
        if mutation.counter <= device.counter:
            return None
        assert mutation.counter == device.counter + 1, "a history has no gaps"
        self._now_ms = now_ms
        seen = max((max(c.seen, 0, *c.base.values()) for c in mutation.changes), default=0)
        h = effective(
            h=mutation.h, skew=0, previous=device.effective, now_unix_ms=now_ms, seen=seen
        )
        device.counter, device.effective = mutation.counter, h
        self._clock.observe(h)
        receipt = self._decide(_own_copy(mutation, h), person)
        self.receipts.append(receipt)
        return receipt

    def _tick(self) -> int:
        return self._clock.tick(self._now_ms)

    def _decide(self, mutation: Mutation, person: PersonId) -> Receipt:
        befores: dict[RowKey, RowState] = {
            (change.collection, row): state
            for change in mutation.changes
            for row, state in self.rows.load(change.collection, [change.row]).items()
        }
        verdict = self._judge.judge(mutation, person, self.role_in, befores, self._tick())
        own: Sequence[RowDelta] = ()
        compensator = Compensator(self.app, self, self._tick)
        if verdict.rejection is None and compensator.needs_look(verdict):
            own, verdict.rejection = compensator.apply(verdict, befores)
        if verdict.rejection is None:
            self._merge(verdict, own)
        return _receipt(mutation, verdict)

    def _merge(self, verdict: Verdict, own: Sequence[RowDelta]) -> None:
        kept = dict(self.rows.states)
        deltas = [*verdict.deltas, *own]
        for delta in deltas:
            self.rows.merge(delta)
        if self.rows.breaks_unique({delta.collection for delta in deltas}):
            # Two rows of one mutation: the checks look at rows as they stood before it.
            self.rows.states = kept
            verdict.rejection = _NOT_UNIQUE


def _own_copy(mutation: Mutation, h: int) -> Mutation:
    """Return the mutation at its effective time; a rule that writes to it spoils no history."""
    changes = tuple(replace(one, fields=deepcopy(one.fields)) for one in mutation.changes)
    return mutation._replace(h=h, changes=changes)


def _receipt(mutation: Mutation, verdict: Verdict) -> Receipt:
    device, counter = mutation.device, mutation.counter
    if verdict.rejection is not None:
        refused = verdict.rejection
        return Receipt(device, counter, "rejected", refused.code, refused.message, refused.fields)
    lost = tuple(verdict.lost)
    if not verdict.is_superseded:
        return Receipt(device, counter, "merged", lost=lost)
    names = tuple(sorted({one.field for one in lost if one.is_own}))
    if verdict.is_under_tombstone:
        message = "The row was deleted; the edit is kept under it."
        return Receipt(device, counter, "superseded", "row-deleted", message, names, lost)
    message = "A write that had not seen this one won."
    return Receipt(device, counter, "superseded", "later-write", message, names, lost)
