"""The queue in front of the writer: concurrent pushes share a commit.

While one group commits, the pushes that arrive form the next: one fsync for all of them, no timer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

from core.ids import PRIMARY
from core.judge import Judge
from edge.errors import ConstraintViolated, EdgeError, Overloaded, Unavailable
from edge.ports.tracing import NO_TRACER
from edge.services.ingest.collector import paused_collector
from edge.services.ingest.commit import CommitResult, GroupCommit
from edge.services.ingest.prepare import Preparer, problem_of
from edge.services.ingest.prepared import NEXT_COUNTER, PreparedMutation, PreparedPush
from edge.services.ingest.waves import Scheduler
from edge.services.standing import STANDALONE
from sync_protocol.messages.pushed import Pushed
from sync_protocol.mutations import Malformed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from core.ids import PersonId
    from core.schema.app import App
    from edge.ports.stores import Database, Unit
    from edge.ports.tracing import Tracer
    from edge.services.ingest.ledger import RowDigests
    from edge.services.ingest.outcomes import Item
    from edge.services.session import DeviceSession
    from edge.services.standing import Standing
    from sync_protocol.messages.push import Push, WireChange, WireMutation

GROUP_MUTATIONS_MAX: Final = 10_000
"""Mutations in one commit: about a quarter of a second of work, so nobody waits longer for it."""
DIGESTS_KEPT_MAX: Final = 50_000
"""Digests of recently written rows, about 14 MB: a second write costs one hash less."""
QUEUE_MUTATIONS_MAX: Final = 50_000
"""Mutations waiting for the writer; beyond it pushes are told to come back."""
PUSHES_NAMED_MAX: Final = 32
"""Other pushes that the trace of a commit names; a commit may serve hundreds."""
_SAMPLED: Final = frozenset("13579bdf")
"""Last digits of a traceparent whose trace is kept."""


class _Waiting(NamedTuple):
    """A push in the queue, whom to answer, and the span that waits."""

    push: PreparedPush
    answer: asyncio.Future[Pushed]
    traceparent: str | None


class Ingest:
    """One tenant's way in. `on_commit(result, seconds)` is told of every commit."""

    def __init__(
        self,
        app: App,
        database: Database,
        *,
        now_ms: Callable[[], int],
        on_commit: Callable[[CommitResult, float], None],
        standing: Standing = STANDALONE,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._app = app
        self._database = database
        self._now_ms = now_ms
        self._on_commit = on_commit
        self._standing = standing
        self._tracer = tracer
        self._judge = Judge(app)
        self._scheduler: Scheduler[Item] = Scheduler(app)
        self.preparer = Preparer(app)
        self._queue: deque[_Waiting] = deque()
        self._queued_mutations = 0
        self._digests: RowDigests = {}
        self._arrived = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self._is_closed = False

    async def push(
        self, session: DeviceSession, push: Push, mutations: Sequence[WireMutation | Malformed]
    ) -> Pushed:
        """Take a device's push; return once everything in it is durable and has its receipt.

        Raises CounterGap, ClonedDevice, UnknownDevice, Overloaded, StorageFull, StorageBusy;
        nothing of the push has been taken then.
        """
        known = [
            mutation.counter - index
            for index, mutation in enumerate(mutations)
            if mutation.counter is not None
        ]
        prepared = self.preparer.prepare(
            mutations,
            schema_version=session.schema_version,
            expected=max(known[0], 1) if known else NEXT_COUNTER,
        )
        pushed = await self._submit(
            PreparedPush(session.device, session.principal.person, push.clock, prepared)
        )
        return self._standing.noted(pushed)

    async def write(
        self, *, device: int, person: PersonId, changes: Sequence[WireChange]
    ) -> Pushed:
        """Take one mutation whose time and counter are the node's: a REST write.

        A malformed change raises an error that `problem_of` explains.
        """
        parsed = self.preparer.changes(changes, schema_version=self._app.version)
        seen = max(v for change in parsed for v in (change.seen, *change.base.values()))
        mutation = PreparedMutation(NEXT_COUNTER, 0, seen, bytes(8), parsed)
        return await self._submit(PreparedPush(device, person, None, [mutation]))

    async def write_as_primary(self, batches: Sequence[Sequence[WireChange]]) -> Pushed:
        """Take mutations of the primary itself, judged by no policy and no rule."""
        mutations = [
            PreparedMutation(
                NEXT_COUNTER, 0, 0, bytes(8),
                self.preparer.changes(changes, schema_version=self._app.version),
            )
            for changes in batches
        ]  # fmt: skip
        return await self._submit(PreparedPush(PRIMARY, None, None, mutations))

    def start(self) -> None:
        """Start the writer's worker on the running loop."""
        self._worker = asyncio.create_task(self._work(), name="ingest")

    async def close(self) -> None:
        """Commit what is queued, then stop."""
        self._is_closed = True
        self._arrived.set()
        if self._worker is not None:
            await self._worker

    async def _submit(self, push: PreparedPush) -> Pushed:
        if self._is_closed:
            raise Unavailable("The node is stopping.")
        size = len(push.mutations)
        if self._queued_mutations + size > QUEUE_MUTATIONS_MAX:
            raise Overloaded("Too many writes are waiting.")
        answer: asyncio.Future[Pushed] = asyncio.get_running_loop().create_future()
        with self._tracer.span("ingest wait", mutations=size):
            self._queue.append(_Waiting(push, answer, self._tracer.traceparent()))
            self._queued_mutations += size
            self._arrived.set()
            return await answer  # a caller that leaves takes nothing back: the commit goes on

    async def _work(self) -> None:
        while not (self._is_closed and not self._queue):
            await self._arrived.wait()
            self._arrived.clear()
            while self._queue:
                await self._commit_group(self._next_group())

    def _next_group(self) -> list[_Waiting]:
        group: list[_Waiting] = []
        size = 0
        while self._queue and (not group or size < GROUP_MUTATIONS_MAX):
            group.append(self._queue.popleft())
            size += len(group[-1].push.mutations)
        self._queued_mutations -= size
        return group

    async def _commit_group(self, group: list[_Waiting]) -> None:
        pushes = [waiting.push for waiting in group]
        named = self._named(group) if self._tracer.is_on else []
        parent = named[0] if named else None
        started = monotonic()
        try:
            with self._tracer.span("commit", parent=parent, links=named[1:]) as span:
                result = await self._run(pushes)
                span.put(mutations=result.mutations, sequence=result.sequence)
        except Exception as error:  # noqa: BLE001  (whatever it is, every caller must hear of it)
            for waiting in group:
                _resolve(waiting.answer, error)
            return
        if len(self._digests) + len(result.digests) > DIGESTS_KEPT_MAX:
            self._digests.clear()
        self._digests.update(result.digests)
        self._on_commit(result, monotonic() - started)
        for waiting, outcome in zip(group, result.answers, strict=True):
            _resolve(waiting.answer, outcome)

    @staticmethod
    def _named(group: list[_Waiting]) -> list[str]:
        """Return the spans that wait for a commit: it is a part of the first one's trace.

        As long as one of the traces is kept, only those are named: the commit is kept with them.
        """
        named = [waiting.traceparent for waiting in group if waiting.traceparent is not None]
        kept = [name for name in named if name[-1] in _SAMPLED]
        return (kept or named)[: PUSHES_NAMED_MAX + 1]

    async def _run(self, pushes: list[PreparedPush]) -> CommitResult:
        try:
            return await self._database.write(partial(self._commit, pushes, one_by_one=False))
        except ConstraintViolated:
            return await self._database.write(partial(self._commit, pushes, one_by_one=True))

    def _commit(self, pushes: list[PreparedPush], unit: Unit, *, one_by_one: bool) -> CommitResult:
        work = GroupCommit(
            self._app,
            self._judge,
            self._scheduler,
            unit,
            now_ms=self._now_ms(),
            digests=self._digests,
        )
        with paused_collector():
            return work.run(pushes, one_by_one=one_by_one)


def _resolve(answer: asyncio.Future[Pushed], outcome: Pushed | EdgeError | Exception) -> None:
    if answer.cancelled():
        return
    if isinstance(outcome, Exception):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)


__all__ = ["Ingest", "problem_of"]
