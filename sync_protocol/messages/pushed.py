"""pushed: the answer to push; one receipt per mutation, in order."""

from __future__ import annotations

from typing import Any, Literal

from sync_protocol.messages.base import (
    Answer,
    AnswerPart,
    Clock,
    Counter,
    Device,
    Run,
    Sequence,
    Skew,
)

Outcome = Literal["accepted", "merged", "superseded", "rejected", "quarantined"]


class Side(AnswerPart):
    """One of two concurrent values: what was written, when and by which device."""

    value: Any
    h: Clock
    n: Device


class Conflict(AnswerPart):
    """A field that two authors wrote without having seen each other; nothing is lost silently."""

    collection: str
    id: str
    field: str
    winner: Side
    loser: Side


class Receipt(AnswerPart):
    """The outcome of one mutation.

    `sequence` is the primary's sequence of its last row write (for a rejected one: at the time of
    judging), `h` the effective clock value it was merged with. Rejected and quarantined ones carry
    `code`, `message` and the `fields` concerned; superseded ones the `conflicts` they lost.
    """

    counter: Counter
    outcome: Outcome
    sequence: Sequence
    h: Clock = 0
    code: str = ""
    message: str = ""
    fields: list[str] = []
    conflicts: list[Conflict] = []


class Pushed(Answer, tag="pushed"):
    """Receipts; plain `merged` ones in runs.

    `merged` holds (first counter, last counter, sequence of the run's last write) runs whose
    mutations were merged without conflict; `receipts` holds every other outcome. `replicated` as
    in a page. `database` is the one that the final outcomes are of, empty when there are none.
    """

    merged_through: Counter
    sequence: Sequence
    merged: list[Run] = []
    receipts: list[Receipt] = []
    skew: Skew = 0
    replicated: Sequence = 0
    database: str = ""
