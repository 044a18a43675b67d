"""What export and erasure need of one tenant's database: every table, read page by page.

Pages are read by key, not by offset: a page costs its own rows however far the reader has come, and
what is written meanwhile neither repeats nor hides a record that was there before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from core.row import RowState
    from edge.ports.records import (
        ConflictRecord,
        DeviceRecord,
        InvitationRecord,
        MemberRecord,
        MergedRun,
        ReceiptRecord,
    )

FIRST_PAIR: Final = (-1, -1)
"""Before every (device number, counter)."""


@dataclass(frozen=True, slots=True)
class QuarantineRecord:
    """A mutation that could not be judged: the bytes as they came, and why."""

    n: int
    counter: int
    payload: bytes
    reason: str


class ArchiveStore(Protocol):
    """Reads of whole tables in pages of `limit`, and the deletions of an erasure.

    `numbers` restricts a read to some devices, `person` to one person; None means all. A read
    returns what comes after its key, ascending; fewer than `limit` records are the last page.
    """

    def rows(self, collection: str, *, after: str, limit: int) -> list[RowState]:
        """Return rows, living and dead, by id."""
        ...

    def members(
        self, *, after: tuple[str, str], limit: int, person: str | None
    ) -> list[MemberRecord]:
        """Return memberships by (person, space), removed ones too (role None)."""
        ...

    def founders(self, *, after: str, limit: int, person: str | None) -> list[tuple[str, str]]:
        """Return (space, who made it) by space."""
        ...

    def invitations(self, *, after: str, limit: int, person: str | None) -> list[InvitationRecord]:
        """Return invitations by id; with `person`, those they have made."""
        ...

    def devices(self, *, after: int, limit: int, person: str | None) -> list[DeviceRecord]:
        """Return devices by number."""
        ...

    def runs(
        self, *, after: tuple[int, int], limit: int, numbers: Sequence[int] | None
    ) -> list[MergedRun]:
        """Return runs of plainly merged mutations by (device, last counter)."""
        ...

    def receipts(
        self, *, after: tuple[int, int], limit: int, numbers: Sequence[int] | None
    ) -> list[ReceiptRecord]:
        """Return all other outcomes by (device, counter)."""
        ...

    def quarantined(
        self, *, after: tuple[int, int], limit: int, numbers: Sequence[int] | None
    ) -> list[QuarantineRecord]:
        """Return quarantined mutations by (device, counter)."""
        ...

    def conflicts(
        self, *, after: int, limit: int, numbers: Sequence[int] | None
    ) -> list[ConflictRecord]:
        """Return conflicts by id; with `numbers`, those in which one of the devices wrote."""
        ...

    def erase_rows(self, space: str, *, limit: int) -> int:
        """Delete at most `limit` rows of a space, and the log of changes to them; return how many.

        No tombstone is left: only for a space that nobody is in.
        """
        ...

    def erase_space(self, space: str) -> int:
        """Delete a space without rows, and all that is kept of it; return how many conflicts."""
        ...

    def erase_receipts(self, numbers: Sequence[int], *, limit: int) -> int:
        """Delete at most `limit` outcomes of each kind of some devices; return how many."""
        ...

    def erase_conflicts(self, numbers: Sequence[int], *, limit: int) -> int:
        """Delete at most `limit` conflicts in which some devices wrote; return how many."""
        ...

    def blank_receipts(
        self, numbers: Sequence[int], *, after: tuple[int, int], limit: int
    ) -> tuple[int, int] | None:
        """Remove the values that some devices wrote from one page of other devices' receipts.

        Returns the key of the last receipt looked at, or None after the last page.
        """
        ...

    def erase_person(self, person: str, *, emails: Sequence[str]) -> None:
        """Delete memberships, removed ones too, and invitations by a person or to their addresses.

        Who made a space is forgotten, too.
        """
        ...

    def erase_devices(self, numbers: Sequence[int], new_pseudonym: Callable[[], str]) -> None:
        """Replace owner and installation of some devices; their numbers stay taken.

        They are set to have been seen never, so that no tombstone waits for them.
        """
        ...
