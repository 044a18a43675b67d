"""How old an edge's replica is: against what the primary said it has, and when it said so.

Every report to the primary (REPORT_EVERY_MS) brings back each tenant's position there: a mark. A
mark is covered once the replica has reached it; then the replica holds everything the primary had
when that report was sent. The replica's age is the time since the newest covered mark. Under load
it is never quite level with the newest report, and still only as old as the last one it covered.

Invariants
  Y1  an age is never shorter than the truth: marks count from when the report was sent, and marks
      left out for want of room only make the replica look older; 0 alone is rounded: it says level
      with a report of the last SILENCE_MS_MAX
  Y2  positions in different databases are never compared: after a take-over an edge is level only
      with what the new primary has
  Y3  an edge cut off from its primary stays usable, whatever its age; a replica that falls behind a
      primary which answers does not
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

REPORT_EVERY_MS: Final = 250
SILENCE_MS_MAX: Final = 2_000
"""Eight reports without an answer: the primary is away."""
MARKS_MAX: Final = 64
"""Uncovered marks per tenant: 16 s of them one by one, then every second, fourth... is kept."""

Detail: TypeAlias = "Mapping[str, str | int | None]"


class Position(NamedTuple):
    """A commit: `sequence` of the database with this id."""

    database: str
    sequence: int


class Behind(NamedTuple):
    """`ms` is 0 when the replica is level; None when it has never been, as far as is known."""

    sequences: int
    ms: int | None


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a node is of use, whether it is up to date, and why not; `detail` is for operators.

    The default is that of a node that has no replica.
    """

    is_ready: bool = True
    is_fresh: bool = True
    why: str = ""
    detail: Detail = field(default_factory=dict[str, str | int | None])


class _Marks:
    """One tenant: what the primary has said, and how far the replica has come."""

    __slots__ = ("covered_ms", "told", "uncovered")

    def __init__(self, told: Position, *, covered_ms: int | None) -> None:
        self.told = told
        self.uncovered: deque[tuple[int, int]] = deque()  # (sequence, sent at), both ascending
        self.covered_ms = covered_ms

    def tell(self, told: Position, at_ms: int) -> None:
        if told.database != self.told.database:
            self.uncovered.clear()  # Y2
        self.told = told
        while self.uncovered and self.uncovered[-1][0] >= told.sequence:
            self.uncovered.pop()
        self.uncovered.append((told.sequence, at_ms))
        if len(self.uncovered) > MARKS_MAX:
            # The newest stays: level means level with that one.
            newest = self.uncovered.pop()
            self.uncovered = deque([*list(self.uncovered)[::2], newest])

    def cover(self, reached: Position | None) -> None:
        if reached is None or reached.database != self.told.database:
            return
        while self.uncovered and self.uncovered[0][0] <= reached.sequence:
            self.covered_ms = self.uncovered.popleft()[1]


class Lag:
    """The replicas of one edge.

    All times are those of `now_ms`: milliseconds of one clock of this node that never goes back.
    """

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._started_ms = now_ms()
        self._heard_ms: int | None = None
        self._marks: dict[str, _Marks] = {}
        self._reached: dict[str, Position] = {}
        self._is_synced = False

    def heard(self, positions: Mapping[str, Position], *, at_ms: int) -> None:
        """Take what the primary has of every tenant; `at_ms` is when the report was sent.

        Tenants it does not name are gone. An answer that was overtaken by a later one is ignored.
        """
        if self._heard_ms is not None and at_ms < self._heard_ms:
            return
        before_ms, self._heard_ms = self._heard_ms, at_ms
        for tenant in self._marks.keys() - positions.keys():
            del self._marks[tenant]
            self._reached.pop(tenant, None)
        for tenant, told in positions.items():
            marks = self._marks.get(tenant)
            if marks is None:
                # What the primary did not have at the last report was not missing here then.
                marks = self._marks[tenant] = _Marks(told, covered_ms=before_ms)
            marks.tell(told, at_ms)
            marks.cover(self._reached.get(tenant))
        self._note_sync()

    def reached(self, tenant: str, position: Position) -> None:
        """Take how far the replica of a tenant has come."""
        self._reached[tenant] = position
        marks = self._marks.get(tenant)
        if marks is not None:
            marks.cover(position)
            if not self._is_synced:
                self._note_sync()

    def now_ms(self) -> int:
        """Return the time of these times."""
        return self._now_ms()

    def told(self, tenant: str, *, after_ms: int) -> str | None:
        """Return the id of the primary's database of a tenant, empty if it has none of that name.

        None before the primary has answered a report that was sent after `after_ms`.
        """
        if self._heard_ms is None or self._heard_ms <= after_ms:
            return None
        marks = self._marks.get(tenant)
        return "" if marks is None else marks.told.database

    def tenants(self) -> list[str]:
        """Return the tenants that the primary has named or the replica has."""
        return sorted(self._marks.keys() | self._reached.keys())

    def behind(self, tenant: str) -> Behind:
        """Return how far a tenant's replica is behind the primary."""
        marks = self._marks.get(tenant)
        if marks is None:
            return Behind(0, None)
        reached = self._reached.get(tenant)
        is_same = reached is not None and reached.database == marks.told.database
        have = reached.sequence if reached is not None and is_same else 0
        return Behind(max(0, marks.told.sequence - have), self._age_ms(marks))

    def worst_ms(self) -> int | None:
        """Return the age of the oldest replica; None when that of one is not known."""
        if self._heard_ms is None:
            return None
        ages = [self._age_ms(marks) for marks in self._marks.values()]
        known = [age for age in ages if age is not None]
        if len(known) < len(ages):
            return None
        if known:
            return max(known)
        return 0 if self.is_primary_heard else max(0, self._now_ms() - self._heard_ms)

    @property
    def is_primary_heard(self) -> bool:
        """Whether the primary has answered a report within SILENCE_MS_MAX."""
        return self._heard_ms is not None and self._now_ms() - self._heard_ms <= SILENCE_MS_MAX

    def is_fresh(self, lag_ms_max: int) -> bool:
        """Whether every replica is known to be no older than the bound."""
        worst_ms = self.worst_ms()
        return worst_ms is not None and worst_ms <= lag_ms_max

    def readiness(self, lag_ms_max: int) -> Readiness:
        """Return whether phones are to be sent here (Y3)."""
        is_heard = self.is_primary_heard
        why = self._why_broken(lag_ms_max) if is_heard else self._why_empty()
        detail: dict[str, str | int | None] = {
            "primary": "heard" if is_heard else "away",
            "replica_age_ms": self.worst_ms(),
        }
        return Readiness(not why, self.is_fresh(lag_ms_max), why, detail)

    def _why_broken(self, lag_ms_max: int) -> str:
        """Return what is wrong with a replica whose primary answers, or nothing."""
        if not self._is_synced:
            return "first-sync: the replica has not caught up with the primary yet."
        assert self._heard_ms is not None, "the primary was heard"
        # Up to the last report, and not up to now: between the last answer and the moment the
        # silence is noticed, a cut connection must not look like a broken replica.
        levels = [marks.covered_ms for marks in self._marks.values()]
        known = [level for level in levels if level is not None]
        lag_ms = self._heard_ms - min(known, default=self._heard_ms)
        if lag_ms > lag_ms_max:
            return f"replica-behind: the primary answers, the replica is {lag_ms} ms behind it."
        return ""

    def _why_empty(self) -> str:
        """Return why nothing can be served without the primary, or nothing."""
        if self._heard_ms is None and self._now_ms() - self._started_ms <= SILENCE_MS_MAX:
            return "starting: the primary has not been heard of yet."
        if not self._reached:
            return "no-replica: the primary is away, and nothing was ever replicated here."
        return ""

    def _age_ms(self, marks: _Marks) -> int | None:
        if marks.covered_ms is None:
            return None
        if not marks.uncovered and self.is_primary_heard:
            return 0
        return max(0, self._now_ms() - marks.covered_ms)

    def _note_sync(self) -> None:
        """Note when every tenant has been covered once: the first sync is over."""
        if not self._is_synced:
            self._is_synced = all(m.covered_ms is not None for m in self._marks.values())
