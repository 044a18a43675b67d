"""Syncing: which link is used when, and what the app sees of it. Network trouble is never fatal."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import httpx

from skerry_client.driver import Driver, Ending
from skerry_client.errors import SignedOut
from skerry_client.link import LinkLost, Tokens, TokenSource
from skerry_client.stream import StreamLink, StreamRefused
from skerry_client.transport import TIMEOUT_SECONDS, HttpLink
from sync_protocol.faults import FaultKind
from sync_protocol.session import events as on
from sync_protocol.session.backoff import backoff_ms
from sync_protocol.session.reactions import REACTIONS, Reaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from skerry_client.store import Store
    from skerry_client.tracing import Traceparent

LINKS_PER_ROUND_MAX: Final = 5
"""Links one `sync()` may use up: a new token, a new identity and a hello each cost one."""
STOPPED_PAUSE_MS: Final = 15 * 60_000
"""After a fault that needs a person, the server is asked again this seldom."""


@dataclass(frozen=True, slots=True)
class Status:
    """What the app may show about syncing.

    `is_current`: the last round went through and nothing has been heard of since. `fault` is the
    kind of the last fault that stopped a round, `message` its text or the network's; both are empty
    after a good round. `damaged` spaces differ from the server's although they were repaired.
    `is_stale`: the node that answered last is behind what this phone has seen elsewhere.
    """

    state: str
    is_connected: bool
    is_current: bool
    fault: FaultKind | None
    message: str
    is_stopped: bool
    damaged: frozenset[str]
    skew: int
    pending: int
    is_stale: bool = False


class Syncing:
    """Single rounds over HTTP, and a background stream that falls back to them."""

    def __init__(
        self,
        store: Store,
        *,
        url: str | None,
        token: TokenSource,
        now_unix_ms: Callable[[], int],
        jitter: Callable[[], float],
        http_transport: httpx.AsyncBaseTransport | None,
        traceparent: Traceparent | None = None,
    ) -> None:
        self._store = store
        self._url = url
        self._tokens = Tokens(token)
        self._jitter = jitter
        self._http_transport = http_transport
        self._traceparent = traceparent
        self._client: httpx.AsyncClient | None = None
        self._progress: list[Callable[[int, int], None]] = []
        self._now_unix_ms = now_unix_ms
        self._rounds = self._driver(has_pokes=False)
        self._streaming = self._driver(has_pokes=True)
        self._one_round = asyncio.Lock()
        self._background: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._fault: FaultKind | None = None
        self._message = ""
        self._is_stopped = False
        self._is_current = False

    @property
    def status(self) -> Status:
        """What the app may show."""
        driver = self._streaming if self._streaming.is_connected else self._rounds
        return Status(
            state=driver.session.state.value,
            is_connected=driver.is_connected,
            is_current=driver.is_current or (self._is_current and not driver.is_connected),
            fault=self._fault,
            message=self._message,
            is_stopped=self._is_stopped,
            damaged=frozenset(self._streaming.damaged | self._rounds.damaged),
            skew=driver.skew,
            pending=self._store.waiting_count(),
            is_stale=driver.session.is_behind,
        )

    def on_progress(self, callback: Callable[[int, int], None]) -> None:
        """Call back with (rows done, rows in total) while a round is read."""
        self._progress.append(callback)

    def queue_changed(self) -> None:
        """Tell the links that the app has written something."""
        self._is_current = False
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        for driver in (self._streaming, self._rounds):
            loop.call_soon_threadsafe(driver.notify, on.QueueChanged())

    async def sync(self) -> Status:
        """Do one full round: push all, pull all; never raises for the network.

        It goes over the stream when one is up, else over HTTP, beginning with a hello.
        """
        self._loop = asyncio.get_running_loop()
        if self._streaming.is_connected:
            self._streaming.rest.clear()
            self._streaming.notify(on.PullWanted())
            self._streaming.notify(on.QueueChanged())
            await self._streaming.rest.wait()
            if self._streaming.is_connected:
                return self.status
        async with self._one_round:
            await self._round()
        return self.status

    def connect(self) -> None:
        """Start syncing in the background, until `close`."""
        self._loop = asyncio.get_running_loop()
        if self._url is not None and (self._background is None or self._background.done()):
            self._background = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop syncing; what was not sent stays in the queue."""
        if self._background is not None:
            self._background.cancel()
            await asyncio.gather(self._background, return_exceptions=True)
            self._background = None
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _run(self) -> None:
        attempt = 0
        while True:
            ending = await self._stream()
            if ending is None:
                # No stream to be had here: whatever HTTP can do is done meanwhile.
                async with self._one_round:
                    ending = await self._round()
                delay_ms = ending.after_ms if ending.why == "lost" else None
                attempt += 1
            else:
                attempt = ending.attempt
                delay_ms = ending.after_ms
            if self._is_stopped:
                delay_ms = STOPPED_PAUSE_MS
            if delay_ms is None:
                delay_ms = backoff_ms(attempt, self._jitter())
            await asyncio.sleep(delay_ms / 1_000)

    async def _stream(self) -> Ending | None:
        """Sync over a stream until it ends; None when there is no stream to be had."""
        assert self._url is not None
        try:
            link = await StreamLink.open(
                self._url, await self._tokens.get(), traceparent=self._traceparent
            )
        except LinkLost as lost:
            self._message = lost.reason
            return None
        except SignedOut as problem:
            self._note_signed_out(problem)
            return None
        except StreamRefused as refused:
            if REACTIONS[refused.fault.fault] is Reaction.SIGN_IN:
                self._tokens.refuse()
            self._message = refused.fault.message
            return None
        async with self._one_round:
            return await self._drive(self._streaming, link)

    async def _round(self) -> Ending:
        ending = Ending("lost")
        if self._url is None:
            self._message = "no server address"
            return ending
        for _ in range(LINKS_PER_ROUND_MAX):
            try:
                token = await self._tokens.get()
                link = HttpLink(self._http(), self._url, token, traceparent=self._traceparent)
            except LinkLost as lost:
                self._message = lost.reason
                return ending
            except SignedOut as problem:
                return self._note_signed_out(problem)
            ending = await self._drive(self._rounds, link, is_single_round=True)
            if ending.why in ("live", "stop"):
                return ending
            if ending.why == "lost" or ending.after_ms:
                return ending
        return ending

    async def _drive(
        self, driver: Driver, link: HttpLink | StreamLink, *, is_single_round: bool = False
    ) -> Ending:
        try:
            ending = await driver.run(link, is_single_round=is_single_round)
        except sqlite3.Error as problem:
            # The disk is full or the file is locked: nothing was changed, and it may pass.
            ending = Ending("lost", attempt=driver.session.attempt)
            self._message = f"storage: {problem}"
            return ending
        self._is_current = ending.why == "live"
        self._is_stopped = ending.why == "stop"
        self._fault = None if ending.fault is None else ending.fault.fault
        self._message = "" if ending.fault is None else ending.fault.message
        if ending.why in ("lost", "again"):
            self._message = driver.trouble
        if ending.why == "sign-in":
            self._tokens.refuse()
        return ending

    def _note_signed_out(self, problem: SignedOut) -> Ending:
        """Show that somebody has to sign in; the queue waits for them."""
        self._fault = FaultKind.UNAUTHENTICATED
        self._message = str(problem)
        self._is_current = False
        return Ending("sign-in")

    def _http(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = httpx.AsyncClient(
                transport=self._http_transport, timeout=TIMEOUT_SECONDS, http2=False
            )
        return self._client

    def _driver(self, *, has_pokes: bool) -> Driver:
        return Driver(
            self._store,
            now_unix_ms=self._now_unix_ms,
            jitter=self._jitter,
            has_pokes=has_pokes,
            on_progress=self._tell_progress,
        )

    def _tell_progress(self, done: int, total: int) -> None:
        for callback in self._progress:
            callback(done, total)
