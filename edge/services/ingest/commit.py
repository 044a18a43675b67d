"""One group commit: pushes of many devices judged, merged and answered in one transaction.

Invariants
  I1  a device's mutations take effect in counter order, each exactly once
  I2  mutation, merge, sequence, receipt, digest and clock commit together
  I3  a repeat gets the stored answer; the same identity with another payload is a clone
  I4  a push is taken from its first new mutation on, or refused whole (gap, clone); a clone's push
      is answered as far as it repeats what is known, so that only the rest takes a new identity
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.changes import Mutation
from core.clock import HybridClock, effective, measured_skew
from core.compensate import Compensator
from core.ids import PRIMARY, DeviceNumber, MutationCounter
from core.judge import Verdict
from core.row import RowDelta
from core.rules import Reject
from edge.errors import (
    ClonedDevice,
    ConstraintViolated,
    CounterGap,
    EdgeError,
    UnknownDevice,
)
from edge.ports.records import ConflictRecord, MemberRecord, PrimaryChangeRecord
from edge.services.ingest.ledger import Ledger
from edge.services.ingest.outcomes import Item, answer
from edge.services.ingest.prepared import NEXT_COUNTER
from edge.services.ingest.repeats import same_prefix, stored_answers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from core.judge import Judge, RowKey
    from core.row import RowState
    from core.schema.app import App
    from edge.ports.records import DeviceRecord
    from edge.ports.stores import Unit
    from edge.services.ingest.ledger import RowDigests
    from edge.services.ingest.prepared import PreparedMutation, PreparedPush
    from edge.services.ingest.waves import Scheduler
    from sync_protocol.messages.pushed import Pushed


@dataclass(frozen=True, slots=True)
class CommitResult:
    """Answers in the order of the group, and what the commit did (for metrics and pokes)."""

    answers: list[Pushed | EdgeError]
    sequence: int
    mutations: int
    row_writes: int
    digests: RowDigests


@dataclass(slots=True)
class _Taken:
    """One push inside a commit."""

    device: DeviceRecord
    skew: int
    items: list[Item] = field(default_factory=list[Item])
    repeats: tuple[int, int] | None = None


class GroupCommit:
    """Runs one group inside a unit of work; made anew for each commit."""

    def __init__(
        self,
        app: App,
        judge: Judge,
        scheduler: Scheduler[Item],
        unit: Unit,
        *,
        now_ms: int,
        digests: RowDigests,
    ) -> None:
        self._app = app
        self._judge = judge
        self._scheduler = scheduler
        self._unit = unit
        self._now_ms = now_ms
        self._database: str = unit.meta.get("database")
        self._clock = HybridClock(unit.meta.get("clock"))
        self._ledger = Ledger(unit, last_sequence=unit.meta.get("sequence"), digests=digests)
        self._compensator = Compensator(app, unit, self._tick)
        self._unique = {name for name, declared in app.collections.items() if declared.unique}
        self._devices: dict[int, DeviceRecord] = {}
        self._hashes: defaultdict[int, dict[int, bytes]] = defaultdict(dict)
        """By device and counter, the payload hashes of what this commit has taken."""
        self._roles: dict[tuple[str, str], MemberRecord | None] = {}

    def run(self, group: Sequence[PreparedPush], *, one_by_one: bool = False) -> CommitResult:
        """Take every push of the group; faults of one push leave the others alone."""
        taken: list[_Taken | EdgeError] = []
        for push in group:
            try:
                taken.append(self._take(push))
            except EdgeError as error:
                taken.append(error)
        items = [item for push in taken if isinstance(push, _Taken) for item in push.items]
        judged = [item for item in items if item.problem is None]
        for wave in self._scheduler.waves(judged):
            if not one_by_one:
                self._run_wave(wave)
                continue
            for item in wave:
                self._run_alone(item)
        self._settle(items)
        answers = [self._answer(push) if isinstance(push, _Taken) else push for push in taken]
        return CommitResult(
            answers,
            self._ledger.last_sequence,
            len(items),
            self._ledger.row_writes,
            self._ledger.digests,
        )

    def _take(self, push: PreparedPush) -> _Taken:
        device = self._device(push)
        skew = 0
        if push.clock is not None:
            skew = measured_skew(device_clock=push.clock, now_unix_ms=self._now_ms)
        taken = _Taken(device, skew)
        fresh = push.mutations
        if fresh and push.clock is not None:
            fresh = self._without_repeats(push, device, taken)
        n = DeviceNumber(device.n)
        for mutation in fresh:
            counter = device.counter + 1
            item = Item(n, push.person, counter, mutation)
            if mutation.problem is None:
                h = self._clock.tick(self._now_ms) if push.clock is None else mutation.h
                h = device.effective = effective(
                    h=h,
                    skew=skew,
                    previous=device.effective,
                    now_unix_ms=self._now_ms,
                    seen=mutation.seen,
                )
                item.mutation = Mutation(n, MutationCounter(counter), h, mutation.changes)
            device.counter = counter
            self._hashes[n][counter] = mutation.hash
            taken.items.append(item)
        self._clock.observe(device.effective)
        device.seen_ms = self._now_ms
        return taken

    def _without_repeats(
        self, push: PreparedPush, device: DeviceRecord, taken: _Taken
    ) -> list[PreparedMutation]:
        """Check I1, I3 and I4; return the mutations that are new."""
        mutations = self._numbered(push, device)
        first = mutations[0].counter
        contiguous = all(m.counter == first + index for index, m in enumerate(mutations))
        if not contiguous or first > device.counter + 1:
            raise CounterGap(
                f"Mutations are missing: the server has {device.counter}.",
                merged_through=device.counter,
                database=self._unit.meta.get("database"),
            )
        repeated = [m for m in mutations if m.counter <= device.counter]
        if not repeated:
            return mutations
        unwritten = self._hashes[device.n]
        same = same_prefix(self._unit, device.n, repeated, unwritten=unwritten)
        if same == 0:
            raise ClonedDevice(
                "This device number is used by another copy of the device.",
                database=self._unit.meta.get("database"),
            )
        taken.repeats = (first, repeated[same - 1].counter)
        return mutations[same:] if same == len(repeated) else []

    def _numbered(self, push: PreparedPush, device: DeviceRecord) -> list[PreparedMutation]:
        """Number mutations whose counters nothing tells: from the device's next, or as a repeat."""
        mutations = push.mutations
        if mutations[0].counter != NEXT_COUNTER:
            return mutations
        repeat = mutations[0]._replace(counter=device.counter)
        is_repeat = device.counter > 0 and same_prefix(
            self._unit, device.n, [repeat], unwritten=self._hashes[device.n], believe_unknown=False
        )
        first = device.counter if is_repeat else device.counter + 1
        return [m._replace(counter=first + index) for index, m in enumerate(mutations)]

    def _device(self, push: PreparedPush) -> DeviceRecord:
        device = self._devices.get(push.device)
        if device is None:
            if push.device == PRIMARY:
                device = self._unit.devices.ensure_primary(PRIMARY)
            else:
                device = self._unit.devices.by_number(push.device)
        if device is None or (push.person is not None and device.person != push.person):
            raise UnknownDevice("This device number is not yours: say hello again.")
        self._devices[push.device] = device
        return device

    def _run_wave(self, wave: Sequence[Item]) -> None:
        while wave:
            postponed, wave = self._run_part(wave)
            for item in postponed:
                self._run_wave([item])

    def _run_part(self, wave: Sequence[Item]) -> tuple[Sequence[Item], Sequence[Item]]:
        """Judge and merge a wave, or its beginning.

        Returns what is to be run one by one next, and the rest, which must see all that merged.
        """
        befores = self._load(wave)
        receive_h = self._clock.tick(self._now_ms)
        writes: list[tuple[RowDelta, int]] = []
        own_writes: list[tuple[RowDelta, int]] = []
        judge, role_in, ledger = self._judge.judge, self._role, self._ledger
        looks = self._compensator.needs_look
        postponed: list[Item] = []
        rest: Sequence[Item] = ()
        rewritten: set[str] = set()
        for index, item in enumerate(wave):
            assert item.mutation is not None
            verdict = judge(item.mutation, item.person, role_in, befores, receive_h)
            item.verdict = verdict
            own: Sequence[RowDelta] = ()
            if len(wave) > 1 and _reaches_further(item, verdict):
                postponed.append(item)
                continue
            if verdict.rejection is None and looks(verdict):
                own, verdict.rejection = self._compensator.apply(verdict, befores)
                if verdict.rejection is None:
                    rewritten |= _rewritten(verdict, befores, self._unique)
                elif _may_be_free(item, rewritten):
                    rest = wave[index:]
                    break
            if verdict.rejection is not None:
                continue
            writes += self._sequenced(_coalesced(self._app, verdict.deltas))
            if own:
                own_writes += self._sequenced(own)
            item.sequence = ledger.last_sequence
            item.is_plainly_merged = not verdict.is_superseded
            if own or verdict.lost:
                self._log(item, verdict, own)
        ledger.merge(writes, befores)
        if own_writes:
            ledger.merge_own(own_writes, befores)
        return postponed, rest

    def _sequenced(self, deltas: Iterable[RowDelta]) -> list[tuple[RowDelta, int]]:
        return [(delta, self._ledger.next_sequence()) for delta in deltas]

    def _run_alone(self, item: Item) -> None:
        """Judge and merge one mutation under a savepoint; reject it if the database refuses it."""
        mark = self._ledger.mark()
        try:
            self._unit.nested(lambda: self._run_wave([item]))
        except ConstraintViolated:
            self._ledger.rewind(mark)
            item.sequence = 0
            item.is_plainly_merged = False
            item.verdict = Verdict(
                rejection=Reject("not-unique", "Another row has these values already.")
            )

    def _load(self, wave: Iterable[Item]) -> dict[RowKey, RowState]:
        wanted: dict[str, set[str]] = {}
        for item in wave:
            assert item.mutation is not None
            for change in item.mutation.changes:
                if change.collection in wanted:
                    wanted[change.collection].add(change.row)
                else:
                    wanted[change.collection] = {change.row}
        return {
            (collection, row): state
            for collection, ids in wanted.items()
            for row, state in self._unit.rows.load(collection, ids).items()
        }

    def _role(self, person: str, space: str, kind: str) -> str | None:
        key = (person, space)
        if key not in self._roles:
            self._roles[key] = self._unit.members.membership(person, space)
        member = self._roles[key]
        return member.role if member is not None and member.kind == kind else None

    def _log(self, item: Item, verdict: Verdict, own: Sequence[RowDelta]) -> None:
        at, n = item.sequence, item.n
        self._ledger.conflicts.extend(
            ConflictRecord(
                0, at, lost.collection, lost.row, lost.space, lost.field,
                lost.winner, lost.loser, self._now_ms,
            )
            for lost in verdict.lost
        )  # fmt: skip
        self._ledger.primary_changes.extend(
            PrimaryChangeRecord(
                at, delta.collection, delta.row, "derived", n, item.counter, self._now_ms
            )
            for delta in own
        )

    def _settle(self, items: Sequence[Item]) -> None:
        for item in items:
            if item.sequence == 0:
                item.sequence = self._ledger.last_sequence
        self._ledger.add_outcomes(items)
        for device in self._devices.values():
            self._unit.devices.save(device)
        self._ledger.finish()
        self._unit.meta.set("clock", self._clock.last)

    def _answer(self, taken: _Taken) -> Pushed:
        runs: list[tuple[int, int, int]] = []
        receipts: list[Any] = []
        if taken.repeats is not None:
            runs, receipts = stored_answers(self._unit, taken.device.n, *taken.repeats)
        return answer(
            taken.items,
            runs=runs,
            receipts=receipts,
            merged_through=taken.device.counter,
            sequence=self._ledger.last_sequence,
            skew=taken.skew,
            database=self._database,
        )

    def _tick(self) -> int:
        return self._clock.tick(self._now_ms)


def _rewritten(verdict: Verdict, befores: dict[RowKey, RowState], unique: set[str]) -> set[str]:
    """Return the collections in which an accepted verdict may give up a unique value."""
    return {
        delta.collection
        for delta in verdict.deltas
        if delta.collection in unique and (delta.collection, delta.row) in befores
    }


def _may_be_free(item: Item, rewritten: set[str]) -> bool:
    """Tell whether rows written before in this wave may have given up what an item was refused for.

    The scheduler knows which unique values a change takes, not which ones the row gives up (W1).
    """
    return bool(rewritten) and any(change.collection in rewritten for change in item.changes)


def _reaches_further(item: Item, verdict: Verdict) -> bool:
    """Tell whether a rule derives changes of rows that others in the wave may change too (W1)."""
    if not verdict.derived:
        return False
    named = {(change.collection, change.row) for change in item.changes}
    return any((change.collection, change.row) not in named for change in verdict.derived)


def _coalesced(app: App, deltas: list[RowDelta]) -> list[RowDelta]:
    """Join deltas of one row within a mutation, in order, so that a row is merged once."""
    if len(deltas) == 1:
        return deltas
    joined: dict[tuple[str, str], RowDelta] = {}
    for delta in deltas:
        key = (delta.collection, delta.row)
        earlier = joined.get(key)
        joined[key] = delta if earlier is None else join_deltas(app, earlier, delta)
    return list(joined.values())


def join_deltas(app: App, earlier: RowDelta, later: RowDelta) -> RowDelta:
    """Join two deltas of one row made by one author at one moment: the later register wins."""
    fields = dict(earlier.fields)
    declared = app.collections[later.collection].fields
    for name, state in later.fields.items():
        spec = declared[name]
        fields[name] = state if spec.is_register else spec.merge(fields.get(name), state)
    return RowDelta(
        later.collection,
        later.row,
        later.space,
        later.alive if later.alive is not None else earlier.alive,
        fields,
    )
