"""The driver: carries out the client session's effects with a store and a link.

The session decides, the store keeps, the link carries; this module only connects them. Store work
that may take long runs in a thread, so that the app's event loop goes on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from skerry_client.link import LinkLost
from sync_protocol.errors import ProtocolError
from sync_protocol.fingerprint import fingerprint
from sync_protocol.messages.fault import Fault
from sync_protocol.messages.hello import Hello
from sync_protocol.messages.push import Push
from sync_protocol.session import effects as do
from sync_protocol.session import events as on
from sync_protocol.session.backoff import backoff_ms
from sync_protocol.session.client import ClientSession
from sync_protocol.session.states import ClientState, LaneState
from sync_protocol.version import PROTOCOL_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

    from skerry_client.link import Link
    from skerry_client.store import Store
    from sync_protocol.session.effects import ClientEffect
    from sync_protocol.session.events import ClientEvent


MUTATIONS_PER_PUSH_MAX: Final = 1_000
"""Small enough for a weak radio to get through, large enough to amortise the round trip."""
PUSH_BYTES_MAX: Final = 960 * 1024
"""Below 1 MiB with the frame around it, the body limit of many proxies."""
PATIENCE: Final = 3
"""Retries of one request within a single round; more are a matter for the next round."""
WAIT_MS_MAX: Final = 5_000
"""What a single round waits for at a time: an app that asked for one wants an answer, not a nap."""


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a link was given up, and when the next one is due (None: after the usual back-off).

    `lost`: the network or garbage; `again`: the server asks for a new hello.
    """

    why: Literal["live", "lost", "again", "sign-in", "stop"]
    after_ms: int | None = None
    attempt: int = 0
    fault: Fault | None = None


class Driver:
    """Runs one session of one store over any number of links."""

    def __init__(
        self,
        store: Store,
        *,
        now_unix_ms: Callable[[], int],
        jitter: Callable[[], float],
        has_pokes: bool,
        on_progress: Callable[[int, int], None],
    ) -> None:
        self.session = ClientSession(has_pokes=has_pokes)
        self.damaged: set[str] = set()
        """Spaces that differ from the server's although they were repaired."""
        self.skew = 0
        self.trouble = ""
        """Why the last link was lost, for people."""
        self.rest = asyncio.Event()
        """Set while there is nothing to do, or no link to do it over."""
        self._store = store
        self._now_unix_ms = now_unix_ms
        self._jitter = jitter
        self._on_progress = on_progress
        self._fingerprint = fingerprint(store.app)
        self._inbox: asyncio.Queue[ClientEvent] = asyncio.Queue()
        self._answers: deque[ClientEvent] = deque()
        self._timers: set[asyncio.TimerHandle] = set()
        self._link: Link | None = None
        self._ending: Ending | None = None
        self._is_single_round = False
        self._was_told = False
        """Whether the last thing heard was a fault."""
        self._rows_done = 0

    @property
    def is_connected(self) -> bool:
        """Tell whether a link is up."""
        return self._link is not None

    @property
    def is_current(self) -> bool:
        """Tell whether everything was read and nothing waits to be sent."""
        return (
            self.session.state is ClientState.LIVE
            and self.session.lane.state is LaneState.IDLE
            and self._inbox.empty()
        )

    @property
    def is_stale(self) -> bool:
        """Tell whether the node has not got what this phone has seen already; it is asked again."""
        return self.session.is_behind and self.session.state is ClientState.WAITING

    def notify(self, event: on.QueueChanged | on.PullWanted) -> None:
        """Tell the session of something the app has done; call it in the event loop's thread."""
        if self._link is not None:
            self._inbox.put_nowait(event)

    async def run(self, link: Link, *, is_single_round: bool = False) -> Ending:
        """Sync over a link until it is given up; a single round ends when the phone is current."""
        self._inbox = asyncio.Queue()
        self._answers.clear()
        self._ending = None
        self._was_told = False
        self._link = link
        self._is_single_round = is_single_round
        self._catch_up()
        receiving = asyncio.create_task(self._receive(link, self._inbox))
        try:
            now = self._store.standing
            await self._feed(on.Connected(self._hello(), now.replaced, now.numbered, now.floor))
            while self._ending is None:
                if is_single_round and self.is_current:
                    return Ending("live")
                self._rest()
                await self._feed(await self._inbox.get())
            return self._ending
        finally:
            self._link = None
            self.rest.set()
            receiving.cancel()
            for timer in self._timers:
                timer.cancel()
            self._timers.clear()
            await asyncio.gather(receiving, return_exceptions=True)
            await link.close()
            if self.session.state not in (ClientState.OFFLINE, ClientState.STOPPED):
                self.session.handle(on.Disconnected())

    def _catch_up(self) -> None:
        """Let the session stand where the store stands, staged pages included."""
        session, cursor, staged = self.session, self._store.cursor, self._store.pull_cursor
        session.cursor = cursor
        session.reading = None if staged == cursor else staged

    def _rest(self) -> None:
        if self.is_current or self.is_stale:
            self.rest.set()
        else:
            self.rest.clear()

    async def _receive(self, link: Link, inbox: asyncio.Queue[ClientEvent]) -> None:
        try:
            while True:
                inbox.put_nowait(on.Received(await link.receive()))
        except Exception as problem:  # noqa: BLE001  (a link that fails in any way is lost)
            self.trouble = str(problem) or type(problem).__name__
            inbox.put_nowait(on.Disconnected())

    async def _feed(self, event: ClientEvent) -> None:
        """Hand an event to the session, and the store's answers before anything else."""
        self._answers.append(event)
        while self._answers and self._ending is None:
            event = self._answers.popleft()
            if isinstance(event, on.Received) and isinstance(event.message, Fault):
                self.trouble = f"{event.message.fault}: {event.message.message}"
                self._was_told = True
            try:
                effects = self.session.handle(event)
            except ProtocolError as problem:
                effects = self._give_up(problem)
            for effect in effects:
                try:
                    await self._carry_out(effect)
                except LinkLost as lost:
                    self.trouble = lost.reason
                    self._answers.append(on.Disconnected())
                except ProtocolError as problem:
                    # The page or its rows are garbage: the round starts again on another link.
                    self._store.unstage()
                    self.session.reading = None
                    for ending in self._give_up(problem):
                        await self._carry_out(ending)
                    break

    def _give_up(self, problem: ProtocolError) -> list[ClientEffect]:
        self.trouble = problem.message
        self._was_told = False
        self._answers.clear()
        return self.session.handle(on.Disconnected())

    async def _carry_out(self, effect: ClientEffect) -> None:
        if isinstance(effect, do.Send):
            assert self._link is not None
            await self._link.send(effect.message)  # pyright: ignore[reportArgumentType]  (a client's)
        elif isinstance(effect, do.PreparePush):
            self._answers.append(self._push(effect))
        elif isinstance(effect, do.Retry):
            self._retry(effect)
        elif isinstance(effect, do.Reconnect):
            why = "again" if self._was_told else "lost"
            self._ending = Ending(why, effect.after_ms, effect.attempt)
        elif isinstance(effect, do.SignIn):
            self._ending = Ending("sign-in", fault=effect.fault)
        elif isinstance(effect, do.Stop):
            self._ending = Ending("stop", fault=effect.fault)
        else:
            await self._keep(effect)

    async def _keep(self, effect: Any) -> None:  # noqa: ANN401  (the union, narrowed by the caller)
        """Carry out what concerns the store."""
        store = self._store
        if isinstance(effect, do.BecomeDevice):
            self.skew = effect.welcome.skew
            store.greet(effect.welcome)
        elif isinstance(effect, do.Settle):
            await asyncio.to_thread(store.record, effect.pushed)
        elif isinstance(effect, do.KeepPage):
            self._rows_done += await asyncio.to_thread(store.stage, effect.page)
            self._on_progress(self._rows_done, self._rows_done + effect.page.remaining)
        elif isinstance(effect, do.ApplyRound):
            applied = await asyncio.to_thread(store.finish, effect.page)
            self._on_progress(applied.rows, applied.rows)
            self._rows_done = 0
            self._report(applied.mismatched)
            cursor = store.cursor
            assert cursor is not None
            self._answers.append(on.RoundApplied(cursor, store.unconfirmed()))
        elif isinstance(effect, do.ApplyPoke):
            applied = await asyncio.to_thread(store.poke, effect.poke)
            self._report(applied.mismatched)
        elif isinstance(effect, do.ApplyRepair):
            applied = await asyncio.to_thread(store.repair, effect.repaired)
            space = effect.repaired.space
            self._answers.append(on.RepairApplied(space, not applied.mismatched))
        else:
            await self._note(effect)

    async def _note(self, effect: Any) -> None:  # noqa: ANN401  (the union, narrowed by the caller)
        """Carry out what concerns the store and applies no confirmed rows."""
        store = self._store
        if isinstance(effect, do.ApplyProvisional):
            await asyncio.to_thread(store.show_provisional, effect.mutations)
        elif isinstance(effect, do.NoteReplicated):
            await asyncio.to_thread(store.note_replicated, effect.sequence)
        elif isinstance(effect, do.ResetRead):
            store.reset_read()
        elif isinstance(effect, do.BecomeNew):
            store.become_new(effect.database, effect.merged_through)
        elif isinstance(effect, do.ReportDamage):
            self.damaged.add(effect.space)

    def _report(self, mismatched: tuple[str, ...]) -> None:
        if not mismatched:
            self.damaged.clear()
        for space in mismatched:
            self._answers.append(on.Mismatched(space, self._store.bucket_digests(space)))

    def _push(self, effect: do.PreparePush) -> on.PushReady:
        batch = self._store.batch(
            after=effect.after_counter,
            mutations_max=min(effect.mutations_max, MUTATIONS_PER_PUSH_MAX),
            bytes_max=PUSH_BYTES_MAX,
            is_gap=effect.is_gap,
        )
        unconfirmed = self._store.unconfirmed()
        if not batch:
            return on.PushReady(None, unconfirmed=unconfirmed)
        push = Push(
            device=effect.device,
            clock=self._store.clock(self._now_unix_ms()),
            schema_version=batch[0].schema_version,
            mutations=[msgspec.Raw(entry.payload) for entry in batch],
        )
        return on.PushReady(push, batch[-1].counter, unconfirmed)

    def _retry(self, effect: do.Retry) -> None:
        if self._is_single_round and effect.attempt >= PATIENCE:
            if self.is_stale:
                self.trouble = "the node is behind what this phone has read"
            self._ending = Ending("lost", effect.after_ms, effect.attempt)
            return
        delay_ms = effect.after_ms
        if delay_ms is None:
            delay_ms = backoff_ms(effect.attempt, self._jitter())
        if self._is_single_round and delay_ms > WAIT_MS_MAX:
            self._ending = Ending("lost", delay_ms, effect.attempt)
            return
        loop = asyncio.get_running_loop()
        due = on.RetryDue(effect.of)
        self._timers.add(loop.call_later(delay_ms / 1_000, self._inbox.put_nowait, due))

    def _hello(self) -> Hello:
        store = self._store
        return Hello(
            protocol=PROTOCOL_VERSION,
            app=store.app.name,
            schema_version=store.app.version,
            fingerprint=self._fingerprint,
            installation=store.installation,
            clock=store.clock(self._now_unix_ms()),
            counter=store.counter,
            cursor=store.cursor,
        )
