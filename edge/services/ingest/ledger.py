"""What a commit writes beside the rows: sequences, receipts, digests, space heads, logs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from core.judge import RowKey
from edge.ports.records import (
    BucketDelta,
    ConflictRecord,
    MergedRun,
    PrimaryChangeRecord,
    ReceiptRecord,
)
from edge.services.ingest.outcomes import receipt_of
from edge.services.ingest.repeats import detail_of
from sync_protocol.digest import bucket_of, row_digest
from sync_protocol.rows import encode_row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from core.row import RowDelta, RowState
    from edge.ports.stores import Unit
    from edge.services.ingest.outcomes import Item


RowDigests = dict[RowKey, tuple[int, int]]
"""(sequence, digest) of living rows; a row's digest is a function of its id and sequence."""


class Mark(NamedTuple):
    """Where a ledger stood: its sequence and the lengths of its logs."""

    last_sequence: int
    conflicts: int
    primary_changes: int


class Ledger:
    """Collects during the waves, writes once at the end."""

    def __init__(self, unit: Unit, *, last_sequence: int, digests: RowDigests) -> None:
        self._unit = unit
        self._known_digests = digests
        self._first = last_sequence + 1
        self.last_sequence = last_sequence
        """The tenant's sequence so far."""
        self.digests: RowDigests = {}
        """What this commit has computed; true once it is committed."""
        self._befores: dict[RowKey, RowState | None] = {}
        self._afters: dict[RowKey, RowState] = {}
        self._undo: list[tuple[RowKey, RowState | None]] | None = None
        """How rows stood before each merge since the last mark; None before the first mark."""
        self.conflicts: list[ConflictRecord] = []
        self.primary_changes: list[PrimaryChangeRecord] = []

    @property
    def row_writes(self) -> int:
        """How many row writes this commit has made."""
        return self.last_sequence + 1 - self._first

    def mark(self) -> Mark:
        """Remember where a wave that may fail begins."""
        self._undo = []
        return Mark(self.last_sequence, len(self.conflicts), len(self.primary_changes))

    def rewind(self, mark: Mark) -> None:
        """Forget what a failed wave has done since its mark: the sequence stays gap-free."""
        self.last_sequence = mark.last_sequence
        del self.conflicts[mark.conflicts :]
        del self.primary_changes[mark.primary_changes :]
        for key, after in reversed(self._undo or []):
            if after is None:
                self._afters.pop(key, None)
            else:
                self._afters[key] = after
        self._undo = []

    def next_sequence(self) -> int:
        """Take the next sequence, for one row write."""
        self.last_sequence += 1
        return self.last_sequence

    def merge(
        self, writes: Sequence[tuple[RowDelta, int]], befores: Mapping[RowKey, RowState]
    ) -> None:
        """Merge deltas of distinct rows, remembering how the rows stood before and after."""
        if not writes:
            return
        known, undo, afters = self._befores, self._undo, self._afters
        present: dict[RowKey, RowState] = {}
        for delta, _ in writes:
            key = (delta.collection, delta.row)
            before = afters.get(key) or befores.get(key)
            if before is not None:
                present[key] = before
            if key not in known:
                known[key] = before
        for collection, state in self._unit.rows.merge(writes, present):
            key = (collection, state.id)
            if undo is not None:
                undo.append((key, afters.get(key)))
            afters[key] = state

    def merge_own(
        self, writes: Sequence[tuple[RowDelta, int]], befores: Mapping[RowKey, RowState]
    ) -> None:
        """Merge the primary's own deltas, in order, in rounds of distinct rows."""
        round_: list[tuple[RowDelta, int]] = []
        keys: set[RowKey] = set()
        for write in writes:
            key = (write[0].collection, write[0].row)
            if key in keys:
                self.merge(round_, befores)
                round_, keys = [], set()
            round_.append(write)
            keys.add(key)
        self.merge(round_, befores)

    def add_outcomes(self, items: Sequence[Item]) -> None:
        """Store the outcome of every item: plain merges as runs, the rest one by one."""
        runs: list[MergedRun] = []
        receipts: list[ReceiptRecord] = []
        open_run: list[Item] = []
        for item in items:
            is_next = (
                open_run and item.n == open_run[-1].n and item.counter == open_run[-1].counter + 1
            )
            if open_run and not (is_next and item.is_plainly_merged):
                runs.append(_run(open_run))
                open_run = []
            if item.is_plainly_merged:
                open_run.append(item)
                continue
            receipt = receipt_of(item)
            if item.problem is not None:
                self._unit.receipts.quarantine(
                    item.n, item.counter, item.problem.content, item.problem.code
                )
            receipts.append(
                ReceiptRecord(
                    item.n,
                    item.counter,
                    receipt.outcome,
                    receipt.sequence,
                    receipt.h,
                    item.prepared.hash,
                    detail_of(receipt),
                )
            )
        if open_run:
            runs.append(_run(open_run))
        self._unit.receipts.add(runs, receipts)

    def finish(self) -> None:
        """Write digests, space heads, logs and the sequence."""
        sums: dict[tuple[str, str, int], list[int]] = {}
        heads: dict[str, int] = {}
        for key, after in self._afters.items():
            space = after.space
            if after.sequence > heads.get(space, 0):
                heads[space] = after.sequence
            total = sums.setdefault((space, key[0], bucket_of(after.id)), [0, 0])
            before = self._befores[key]
            if before is not None and before.alive[2]:
                known = self._known_digests.get(key)
                total[0] -= (
                    known[1]
                    if known is not None and known[0] == before.sequence
                    else row_digest(encode_row(before.id, before.alive, before.fields))
                )
                total[1] -= 1
            if after.alive[2]:
                digest = row_digest(encode_row(after.id, after.alive, after.fields))
                self.digests[key] = (after.sequence, digest)
                total[0] += digest
                total[1] += 1
        self._unit.digests.add(
            BucketDelta(*bucket, digest=digest, rows=rows)
            for bucket, (digest, rows) in sums.items()
        )
        if heads:
            self._unit.members.touch_spaces(heads)
        if self.conflicts:
            self._unit.conflicts.add(self.conflicts)
        if self.primary_changes:
            self._unit.conflicts.log_primary(self.primary_changes)
        self._unit.meta.set("sequence", self.last_sequence)


def _run(items: Sequence[Item]) -> MergedRun:
    return MergedRun(
        items[0].n,
        items[0].counter,
        items[-1].counter,
        max(item.sequence for item in items),
        b"".join(item.prepared.hash for item in items),
    )
