"""What services need of one tenant's database: stores inside a unit of work.

A unit of work is a plain function over a `Unit`; it runs off the event loop in one hop and sees one
snapshot. Bulk methods take and return many rows: cost follows the change, not the statements.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from core.judge import RowKey
    from core.row import RowDelta, RowState
    from edge.ports.archive import ArchiveStore
    from edge.ports.queries import RowQuery
    from edge.ports.records import (
        BucketDelta,
        ConflictRecord,
        DeviceRecord,
        FeedRow,
        InvitationRecord,
        MemberRecord,
        MergedRun,
        PrimaryChangeRecord,
        ReceiptRecord,
    )

T = TypeVar("T")


class MetaStore(Protocol):
    """The tenant's own facts."""

    def get(self, key: str) -> Any:  # noqa: ANN401  (JSON)
        """Return a JSON value, or None when it was never set."""
        ...

    def set(self, key: str, value: Any) -> None:  # noqa: ANN401  (JSON)
        """Store."""
        ...


class RowStore(Protocol):
    """Synced rows, all collections."""

    def load(self, collection: str, ids: Iterable[str]) -> dict[str, RowState]:
        """Return the rows that exist, by id."""
        ...

    def merge(
        self,
        writes: Sequence[tuple[RowDelta, int]],
        befores: Mapping[RowKey, RowState] | None = None,
    ) -> list[tuple[str, RowState]]:
        """Merge deltas, each with its sequence; return (collection, row as it stands) for each.

        `befores` holds those of the rows that exist, as they stand in this transaction. No row may
        occur twice in one call.
        """
        ...

    def unique_holder(
        self, collection: str, fields: Sequence[str], values: Sequence[Any], space: str | None
    ) -> list[str]:
        """Return ids of at most two living rows with these register values."""
        ...

    def referrers(self, collection: str, field: str, target: str, space: str) -> list[str]:
        """Return the ids of living rows whose `field` holds `target` (at most 10,000)."""
        ...

    def feed(
        self,
        spaces_by_collection: Mapping[str, Sequence[str]],
        *,
        after: int,
        until: int,
        rows_max: int,
    ) -> list[FeedRow]:
        """Return the first `rows_max` rows with after < sequence <= until, ascending."""
        ...

    def of_space(self, collection: str, space: str) -> list[FeedRow]:
        """Return every row of one collection in one space (repairs choose their buckets)."""
        ...

    def ended_leases(
        self, collection: str, field: str, *, now_ms: int, limit: int
    ) -> list[tuple[str, str]]:
        """Return (id, space) of rows in which a bounded counter has unspent, ended leases."""
        ...

    def search(self, query: RowQuery) -> list[RowState]:
        """Answer a REST read."""
        ...

    def collect(self, *, horizon: int, rows_max: int) -> int:
        """Drop dead rows whose last write is at or before `horizon`; return how many."""
        ...


class DeviceStore(Protocol):
    """Devices of this tenant."""

    def by_number(self, n: int) -> DeviceRecord | None:
        """Return the device with a number."""
        ...

    def by_installation(self, person: str, installation: str) -> DeviceRecord | None:
        """Return a person's device by its installation id."""
        ...

    def register(self, person: str, installation: str, *, now_ms: int) -> DeviceRecord:
        """Issue the next device number."""
        ...

    def ensure_primary(self, n: int) -> DeviceRecord:
        """Return the primary's own record."""
        ...

    def save(self, device: DeviceRecord) -> None:
        """Store a device as it stands after a commit."""
        ...

    def acknowledge(self, n: int, sequence: int, *, now_ms: int) -> None:
        """Note that a device has applied everything up to a sequence."""
        ...

    def counters(self, numbers: Sequence[int]) -> dict[int, int]:
        """Return the mutation counters of some devices."""
        ...

    def lowest_acknowledged(self, *, seen_after_ms: int) -> int | None:
        """Return the lowest acknowledged sequence of devices whose lease runs."""
        ...


class ReceiptStore(Protocol):
    """Outcomes of mutations."""

    def add(self, runs: Sequence[MergedRun], receipts: Sequence[ReceiptRecord]) -> None:
        """Store."""
        ...

    def runs(self, n: int, *, first: int, last: int) -> list[MergedRun]:
        """Return the runs that touch counters first..last, ascending."""
        ...

    def receipts(self, n: int, *, first: int, last: int, limit: int) -> list[ReceiptRecord]:
        """Return the other outcomes of counters first..last, ascending."""
        ...

    def quarantine(self, n: int, counter: int, payload: bytes, reason: str) -> None:
        """Keep what could not be judged."""
        ...

    def trim(self, *, kept_per_device: int) -> None:
        """Drop the oldest entries."""
        ...


class MemberStore(Protocol):
    """Spaces and who is in them."""

    def membership(self, person: str, space: str) -> MemberRecord | None:
        """Return a person's present membership of a space."""
        ...

    def of_person(self, person: str) -> list[MemberRecord]:
        """Return a person's present memberships."""
        ...

    def changed(self, person: str, *, after: int) -> list[MemberRecord]:
        """Return memberships given, changed or removed after a sequence."""
        ...

    def heads(self, *, after: int) -> dict[str, int]:
        """Return every space with a row write after a sequence, and its last one."""
        ...

    def changed_people(self, *, after: int) -> set[str]:
        """Return everyone whose memberships changed after a sequence."""
        ...

    def dirty_spaces(self, person: str, *, after: int) -> list[MemberRecord]:
        """Return the person's memberships whose space has a row write after a sequence."""
        ...

    def latest(self, person: str, space: str) -> MemberRecord | None:
        """Return a person's membership as it was last changed: its role is None once removed."""
        ...

    def of_space(self, space: str, *, limit: int) -> list[MemberRecord]:
        """Return a space's present members, by person; at most `limit`."""
        ...

    def count(self, space: str) -> int:
        """Return how many members a space has."""
        ...

    def count_others(self, space: str, *, roles: Iterable[str], besides: str) -> int:
        """Return how many members besides one person have one of these roles."""
        ...

    def note_founder(self, space: str, person: str) -> None:
        """Note who made a space."""
        ...

    def founded_by(self, person: str) -> int:
        """Return how many spaces a person has made."""
        ...

    def set(self, member: MemberRecord) -> None:
        """Store."""
        ...

    def ensure_space(self, space: str, kind: str) -> None:
        """Make a space exist."""
        ...

    def kind_of(self, space: str) -> str | None:
        """Return the kind of a space, or None."""
        ...

    def touch_spaces(self, heads: Mapping[str, int]) -> None:
        """Note the last row write of each space."""
        ...


class InvitationStore(Protocol):
    """Invitations to spaces; "open" ones have not expired and are not used up."""

    def add(self, invitation: InvitationRecord) -> None:
        """Store a new invitation."""
        ...

    def by_code(self, code_sha256: bytes) -> InvitationRecord | None:
        """Return the invitation with a code, whatever its state."""
        ...

    def open(self, space: str, *, now_ms: int, limit: int) -> list[InvitationRecord]:
        """Return the open invitations to a space, oldest first; at most `limit`."""
        ...

    def use(self, invitation: str) -> None:
        """Count one use."""
        ...

    def revoke(self, space: str, invitation: str) -> bool:
        """Drop an invitation to this space; return whether there was one."""
        ...

    def trim_used_up(self, space: str, *, kept: int) -> None:
        """Drop the oldest used-up invitations to a space."""
        ...

    def drop_expired(self, *, now_ms: int, limit: int) -> int:
        """Drop invitations that have expired, at most `limit`; return how many."""
        ...


class DigestStore(Protocol):
    """Digest sums per space, collection and bucket."""

    def add(self, deltas: Iterable[BucketDelta]) -> None:
        """Store."""
        ...

    def spaces(self, spaces: Sequence[str]) -> dict[str, dict[str, int]]:
        """Return space -> collection -> digest."""
        ...

    def buckets(self, space: str) -> dict[str, list[int]]:
        """Return collection -> digest of each bucket."""
        ...

    def rows(self, spaces: Sequence[str]) -> int:
        """Return how many living rows the spaces hold."""
        ...


class ConflictStore(Protocol):
    """The conflict log and the log of the primary's own changes, both of bounded length."""

    def add(self, conflicts: Sequence[ConflictRecord]) -> None:
        """Store."""
        ...

    def list(
        self,
        spaces: Sequence[str],
        *,
        collection: str | None,
        row: str | None,
        after: int,
        limit: int,
    ) -> list[ConflictRecord]:
        """Return conflicts of some spaces after an id, oldest first."""
        ...

    def log_primary(self, changes: Sequence[PrimaryChangeRecord]) -> None:
        """Append changes of the primary's own."""
        ...

    def primary_changes(self, *, after: int, limit: int) -> list[PrimaryChangeRecord]:
        """Return changes of the primary's own after a sequence."""
        ...

    def trim(self, *, kept: int) -> None:
        """Drop the oldest entries."""
        ...


class Unit(Protocol):
    """All stores of one tenant in one transaction."""

    @property
    def meta(self) -> MetaStore:
        """Meta."""
        ...

    @property
    def rows(self) -> RowStore:
        """Rows."""
        ...

    @property
    def devices(self) -> DeviceStore:
        """Devices."""
        ...

    @property
    def receipts(self) -> ReceiptStore:
        """Receipts."""
        ...

    @property
    def members(self) -> MemberStore:
        """Members."""
        ...

    @property
    def invitations(self) -> InvitationStore:
        """Invitations."""
        ...

    @property
    def digests(self) -> DigestStore:
        """Digests."""
        ...

    @property
    def conflicts(self) -> ConflictStore:
        """Conflicts."""
        ...

    @property
    def archive(self) -> ArchiveStore:
        """Archive."""
        ...

    def nested(self, work: Callable[[], T]) -> T:
        """Run `work` so that its writes are undone if it raises, and only those."""
        ...


class Database(Protocol):
    """One tenant's database."""

    async def read(self, work: Callable[[Unit], T]) -> T:
        """Run `work` on one snapshot."""
        ...

    async def write(self, work: Callable[[Unit], T]) -> T:
        """Run `work` in the one write transaction: all of it is durable on return, or none."""
        ...

    async def scrub(self) -> bool:
        """Rewrite the files so that nothing deleted is left in them; False: a reader was there."""
        ...

    async def close(self) -> None:
        """Close the database."""
        ...
