"""From verdicts to receipts: what each mutation's author is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sync_protocol.messages.pushed import Conflict, Pushed, Receipt, Side

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.changes import Change, Mutation
    from core.ids import PersonId
    from core.judge import LostWrite, Verdict
    from edge.services.ingest.prepared import PreparedMutation, Problem


@dataclass(slots=True, eq=False)
class Item:
    """One new mutation on its way through a commit."""

    n: int
    person: PersonId | None
    counter: int
    prepared: PreparedMutation
    mutation: Mutation | None = None
    verdict: Verdict | None = None
    sequence: int = 0
    is_plainly_merged: bool = False
    """Whether everything went in and nothing was lost."""

    @property
    def changes(self) -> tuple[Change[Any], ...]:
        """The changes, for scheduling."""
        return self.prepared.changes

    @property
    def problem(self) -> Problem | None:
        """Why the mutation is quarantined, if it is."""
        return self.prepared.problem


def receipt_of(item: Item) -> Receipt:
    """Return the full receipt of one mutation."""
    problem = item.problem
    if problem is not None:
        return Receipt(
            item.counter,
            "quarantined",
            item.sequence,
            code=problem.code,
            message=problem.message,
            fields=list(problem.fields),
        )
    assert item.mutation is not None
    assert item.verdict is not None
    h, verdict = item.mutation.h, item.verdict
    if verdict.rejection is not None:
        rejection = verdict.rejection
        return Receipt(
            item.counter,
            "rejected",
            item.sequence,
            h,
            rejection.code,
            rejection.message,
            list(rejection.fields),
        )
    if verdict.is_superseded:
        own = [lost for lost in verdict.lost if lost.is_own]
        return Receipt(
            item.counter,
            "superseded",
            item.sequence,
            h,
            "row-deleted" if verdict.is_under_tombstone else "later-write",
            "The row was deleted; the edit is kept under it."
            if verdict.is_under_tombstone
            else "A write that had not seen this one won.",
            sorted({lost.field for lost in own}),
            [_conflict(lost) for lost in own],
        )
    return Receipt(item.counter, "merged", item.sequence, h)


def answer(
    items: Sequence[Item],
    *,
    runs: list[tuple[int, int, int]],
    receipts: list[Receipt],
    merged_through: int,
    sequence: int,
    skew: int,
    database: str,
) -> Pushed:
    """Build the answer to one push; `runs` and `receipts` hold those of its repeated mutations."""
    first = last = at = 0
    for item in items:
        if item.is_plainly_merged:
            if first == 0:
                first, at = item.counter, 0
            last, at = item.counter, max(at, item.sequence)
            continue
        if first:
            runs.append((first, last, at))
            first = 0
        receipts.append(receipt_of(item))
    if first:
        runs.append((first, last, at))
    return Pushed(merged_through, sequence, runs, receipts, skew, database=database)


def _conflict(lost: LostWrite) -> Conflict:
    return Conflict(lost.collection, lost.row, lost.field, Side(*lost.winner), Side(*lost.loser))
