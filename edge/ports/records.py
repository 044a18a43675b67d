"""Persistence records: what repositories return and take. Plain, frozen, one per system table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple


@dataclass(slots=True)
class DeviceRecord:
    """A device as the node knows it; the only mutable record, updated in place during a commit.

    `counter`: last mutation with a final outcome; `effective`: clock value of that mutation;
    `acknowledged`: sequence of the last cursor it sent; `seen_ms`: Unix ms of its last request.
    """

    n: int
    person: str
    installation: str
    counter: int
    effective: int
    acknowledged: int
    seen_ms: int


@dataclass(frozen=True, slots=True)
class MergedRun:
    """Consecutive mutations of one device that were merged without any loss, in one commit.

    `hashes` holds 8 payload-hash bytes per mutation.
    """

    n: int
    first: int
    last: int
    sequence: int
    hashes: bytes


@dataclass(frozen=True, slots=True)
class ReceiptRecord:
    """The outcome of one mutation that was not plainly merged; `detail` is JSON-able."""

    n: int
    counter: int
    outcome: str
    sequence: int
    h: int
    hash: bytes
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class MemberRecord:
    """A person's membership of a space, as of `sequence`; removed ones stay with role None."""

    person: str
    space: str
    kind: str
    role: str | None
    sequence: int


@dataclass(frozen=True, slots=True)
class InvitationRecord:
    """A code that makes whoever presents it a member; the code itself is kept nowhere.

    `sequence`: the tenant's when the invitation was made; `is_by_admin`: the inviter needed no role
    in the space; `email` is a note of whom it is for. Times are Unix ms.
    """

    id: str
    code_sha256: bytes
    space: str
    role: str
    inviter: str
    is_by_admin: bool
    email: str | None
    uses: int
    used: int
    sequence: int
    created_ms: int
    expires_ms: int


@dataclass(frozen=True, slots=True)
class ConflictRecord:
    """One lost write. `winner` and `loser` are (value, h, n)."""

    id: int
    sequence: int
    collection: str
    row: str
    space: str
    field: str
    winner: tuple[Any, int, int]
    loser: tuple[Any, int, int]
    at_ms: int


@dataclass(frozen=True, slots=True)
class PrimaryChangeRecord:
    """A change of the primary's own: what, why, and which mutation made it necessary."""

    sequence: int
    collection: str
    row: str
    reason: str
    cause_n: int
    cause_counter: int
    at_ms: int


class FeedRow(NamedTuple):
    """A row as the feed reads it: where it lives, and its canonical bytes."""

    collection: str
    space: str
    id: str
    sequence: int
    is_alive: bool
    row: bytes


@dataclass(frozen=True, slots=True)
class BucketDelta:
    """A change of one digest bucket: add `digest` (modulo 2**128) and `rows` living rows."""

    space: str
    collection: str
    bucket: int
    digest: int
    rows: int
