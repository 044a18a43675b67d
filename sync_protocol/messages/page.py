"""page: the answer to pull, and the rows inside a poke."""

from __future__ import annotations

import msgspec

from sync_protocol.messages.base import Answer, AnswerPart, Counter, Digest, Run, Sequence
from sync_protocol.messages.cursor import Cursor
from sync_protocol.messages.provisional import ProvisionalMutation
from sync_protocol.messages.pushed import Receipt


class Rows(AnswerPart):
    """Rows of one collection, ascending by sequence.

    `rows[i]` is the canonical row `[id, [h, n, alive], {field: state}]` (fields sorted by name,
    only those ever written), the bytes that digests are made of; `sequences[i]` its last write.
    `hashes` is given only when a lens has changed the rows' form for an older app: the digests of
    the rows as the server holds them.
    """

    sequences: list[Sequence]
    rows: list[msgspec.Raw]
    hashes: list[Digest] = []


class SpaceRows(AnswerPart):
    """Changed rows of one space, by collection. Encoded once, however many devices receive it."""

    space: str
    collections: dict[str, Rows]


class Gained(AnswerPart):
    """A space the person has become a member of (or whose role has changed)."""

    space: str
    kind: str
    role: str


class Checkpoint(AnswerPart):
    """A moment at which the device's confirmed rows must equal the server's.

    `digests` holds, per space that this round has touched, the sum of its living rows' digests.
    """

    sequence: Sequence
    digests: dict[str, Digest]


class Page(Answer, tag="page"):
    """One page of a round. Devices keep pages aside and apply a whole round at once, at the page
    that has a checkpoint (`more` is false), so that no mutation is ever half visible.

    `reset` tells the device to drop its confirmed rows first (its queue stays). `lost` spaces are
    purged. `horizon`: tombstones up to this sequence are collected. `merged_through`, `merged` and
    `receipts` belong to the device's own mutations, in the snapshot of this page; `hashes` are what
    it knows the last of them up to `merged_through` by, 8 bytes each, or 8 zeros for one that it no
    longer knows: what a copy of the device has written under the same counters has others.
    `remaining` is an estimate of the rows still to come, for progress bars. `replicated`: commits
    up to this sequence survive the loss of the primary; until then a device keeps what it has
    written. `stale`: the node has not reached in time what was asked for (`wait_for`, or the cursor
    itself); with the cursor unchanged nothing else in the page counts.
    `provisional`, on the last page: the whole set of provisional mutations for this device.
    """

    cursor: Cursor
    more: bool
    reset: bool = False
    gained: list[Gained] = []
    lost: list[str] = []
    spaces: list[msgspec.Raw] = []
    merged_through: Counter = 0
    merged: list[Run] = []
    receipts: list[Receipt] = []
    hashes: bytes = b""
    horizon: Sequence = 0
    remaining: Sequence = 0
    checkpoint: Checkpoint | None = None
    replicated: Sequence = 0
    stale: bool = False
    provisional: list[ProvisionalMutation] = []
