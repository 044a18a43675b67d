"""The fold: a row's view is its confirmed state with pending mutations merged on top.

Pure. Invariants
  F1  the view is a function of (confirmed row, pending mutations), never of how they came about
  F2  a mutation whose effect the confirmed row already holds is not folded again: counters would
      count it twice. What the queue only retains (Q3) is not pending, and never comes here
  F3  provisional mutations of others are folded first, then the phone's own, each in the order they
      were made
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from core.crdt.field import Field, Write
from core.errors import FieldError
from core.ids import SpaceId
from core.row import UNBORN, RowDelta, RowState, merge_delta

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from core.schema.lens import Lens
    from sync_protocol.messages.push import WireChange

Fields = dict[str, Field[Any]]
Alive = tuple[int, int, bool]

PROVISIONAL: Final = "provisional"
"""The outcome of another device's mutation that an edge has accepted and nobody has judged."""
FINAL: Final = frozenset({"merged", "superseded", "rejected", "quarantined"})
"""Outcomes that the primary never takes back."""
REFUSED: Final = frozenset({"rejected", "quarantined"})
"""Final outcomes of mutations that changed nothing."""


@dataclass(frozen=True, slots=True)
class Pending:
    """What the fold needs of one queued mutation, for one row.

    `n` is its author's number, which 0 in its dots stands for (0 too while this phone has none);
    `sequence` is the receipt's, 0 while unknown or of a database not read yet; `is_settled` says
    that a checkpoint already holds the mutation although its receipt is missing.
    """

    n: int
    counter: int
    h: int
    changes: tuple[WireChange, ...]
    outcome: str = ""
    sequence: int = 0
    is_settled: bool = False
    lenses: tuple[Lens, ...] = ()

    def is_folded_on(self, row_sequence: int) -> bool:
        """Tell whether the mutation counts on top of a row confirmed at `row_sequence` (F2)."""
        if self.outcome in REFUSED or self.is_settled:
            return False
        return self.sequence == 0 or row_sequence < self.sequence


def fold(confirmed: RowState, pending: Iterable[Pending], fields: Fields) -> RowState:
    """Return the view of one row: `confirmed` with what `pending` adds, in the given order (F3).

    A row that neither confirmed rows nor an insert place in a space is not there, whoever restores
    it: what others have written provisionally may come before the row.
    """
    view = confirmed
    for mutation in pending:
        if not mutation.is_folded_on(confirmed.sequence):
            continue
        at = Write(mutation.h, mutation.n, mutation.counter)
        for change in mutation.changes:
            view = fold_change(view, change, at=at, fields=fields, lenses=mutation.lenses)
    if view.is_alive and not view.space:
        view = replace(view, alive=UNBORN)
    return view


def fold_change(
    view: RowState,
    change: WireChange,
    *,
    at: Write,
    fields: Fields,
    lenses: Iterable[Lens] = (),
) -> RowState:
    """Merge one change into a view; payloads of an older schema version are raised by `lenses`.

    An insert places a row that nothing has placed in a space yet.
    """
    if change.op == "insert" and not view.space:
        view = replace(view, space=SpaceId(change.space))
    payloads: Mapping[str, Any] = change.fields
    for lens in lenses:
        payloads = lens.raise_payloads(payloads)
    delta = RowDelta(
        collection=change.collection,
        row=view.id,
        space=view.space,
        alive=alive_of(change.op, at),
        fields=_deltas(payloads, at, fields),
    )
    return merge_delta(view, delta, fields)


def alive_of(operation: str, at: Write) -> Alive | None:
    """Return the alive register an operation writes; edits write none."""
    return None if operation == "edit" else (at.h, at.n, operation != "delete")


def _deltas(payloads: Mapping[str, Any], at: Write, fields: Fields) -> dict[str, Any]:
    deltas: dict[str, Any] = {}
    for name, payload in payloads.items():
        field = fields.get(name)
        if field is None:
            continue
        try:
            delta = field.delta(field.parse(payload), at)
        except FieldError:
            continue  # Valid for the version that wrote it, not for this one: the primary judges.
        if delta is not None:
            deltas[name] = delta
    return deltas
