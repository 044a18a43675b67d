"""The server session of one stream, fed by any device and any service."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sync_protocol.errors import OutOfTurn
from sync_protocol.messages.fault import Request
from sync_protocol.messages.page import Page
from sync_protocol.messages.poke import Poke
from sync_protocol.messages.provisional import Provisional
from sync_protocol.messages.repaired import Repaired
from sync_protocol.messages.union import ClientMessage, ServerMessage
from sync_protocol.messages.welcome import Welcome
from sync_protocol.session import effects as do
from sync_protocol.session import events as on
from sync_protocol.session.server import SERVER_TABLE, ServerSession
from sync_protocol.session.states import ServerState
from tests.fuzz.tape import Tape
from tests.fuzz.target import Target
from tests.fuzz.targets import said

STEPS_MAX: Final = 80
EFFECTS_MAX: Final = 4
"""A last page, a poke and a provisional set behind it, and the state reached."""
READS: Final[frozenset[Request]] = frozenset({"pull", "repair"})
KINDS: Final[dict[str, Request]] = {
    "Hello": "hello",
    "Push": "push",
    "Pull": "pull",
    "Repair": "repair",
}


class Stream:
    """A session, and what its invariants say of what it has done so far."""

    def __init__(self) -> None:
        self.session = ServerSession()
        self.serving: set[Request] = set()
        self.has_checkpoint = False
        self.changed = 0
        self.told = 0
        self.contradicted: Provisional | None = None
        """The newest set that came while a page was being read, and was not told behind it."""

    def feed(self, event: on.ServerEvent) -> None:
        """Feed one event and check what comes of it."""
        session, before = self.session, self.session.state
        happened = event.message if isinstance(event, on.Received) else event
        is_known = (before, type(happened)) in SERVER_TABLE
        try:
            effects = session.handle(event)
        except OutOfTurn:
            assert not is_known
            assert not isinstance(event, on.Received)
            assert session.state is before
            return
        assert is_known or session.state is ServerState.CLOSED, "an unknown pair passes"
        assert len(effects) <= EFFECTS_MAX
        if before is ServerState.CLOSED:
            assert not effects
            assert session.state is before
            return
        self._note(event)
        self._check(effects)
        if isinstance(event, on.Answered) and isinstance(event.message, Page):
            self._check_behind(event.message, effects)
        if session.state is ServerState.SUBSCRIBED:
            assert self.told >= self.changed, "V2: a change stays untold"

    def _note(self, event: on.ServerEvent) -> None:
        changed: Provisional | None = None
        if isinstance(event, on.Answered):
            self.serving.discard(event.request)
        elif isinstance(event, on.ProvisionalChanged):
            changed = event.message
        elif isinstance(event, on.Changed):
            if not event.poke.is_news:
                self.changed = max(self.changed, event.poke.sequence)
            if event.poke.provisional is not None:
                changed = Provisional(event.poke.provisional)
        if changed is not None and "pull" in self.serving:
            self.contradicted = changed

    def _check(self, effects: list[do.ServerEffect]) -> None:
        is_closed = False
        for effect in effects:
            assert not is_closed or isinstance(effect, do.Reached), "something follows the end"
            if isinstance(effect, do.Serve):
                request = KINDS[type(effect.message).__name__]
                assert not self.serving & (READS if request in READS else {request}), "V1"
                self.serving.add(request)
            elif isinstance(effect, do.Send):
                self._sent(effect.message)
            is_closed = is_closed or isinstance(effect, do.Close)
        assert not is_closed or self.session.state is ServerState.CLOSED

    def _sent(self, message: ClientMessage | ServerMessage) -> None:
        if isinstance(message, Poke):
            assert self.has_checkpoint, "V2: a poke precedes the checkpoint"
            self.told = max(self.told, message.sequence)
        elif isinstance(message, Page) and message.checkpoint is not None:
            self.has_checkpoint = True
            self.told = max(self.told, message.checkpoint.sequence)

    def _check_behind(self, page: Page, effects: list[do.ServerEffect]) -> None:
        sent = [effect.message for effect in effects if isinstance(effect, do.Send)]
        assert sent[0] == page
        if page.checkpoint is not None and self.contradicted is not None:
            assert sent[-1] == self.contradicted, "V3"
            self.contradicted = None


def run(content: bytes) -> None:
    """A tape of messages, answers, changes and ends.

    Invariant: V1 to V3 of sync_protocol.session.server; a message out of turn is answered and ends
    the stream; nothing follows the end; each event has a bounded number of effects.
    Errors: OutOfTurn, for a mistake of the shell's own, and then nothing has changed.
    """
    tape, stream = Tape(content), Stream()
    for _ in range(STEPS_MAX):
        if tape.is_at_end:
            return
        event = _event(tape, stream)
        if event is not None:
            stream.feed(event)


def _event(tape: Tape, stream: Stream) -> on.ServerEvent | None:
    kind = tape.byte() % 9
    if kind <= 2:
        if stream.session.state is ServerState.EXPECTING_HELLO and tape.flag():
            return on.Received(said.hello(tape))
        return on.Received(said.client_message(tape, stream.session.device))
    if kind <= 4:
        asked = sorted(stream.serving)
        if asked:
            request = tape.pick(asked)
            return on.Answered(request, _answer(tape, request))
        is_known = (stream.session.state, on.Answered) in SERVER_TABLE
        return None if is_known else on.Answered("pull", said.page(tape))
    if kind == 5:
        return on.Changed(said.poke(tape))
    if kind == 6:
        return on.ProvisionalChanged(said.provisional(tape))
    if kind == 7:
        return on.Expelled(said.fault(tape))
    return on.Disconnected()


def _answer(tape: Tape, request: Request) -> ServerMessage:
    if tape.byte() % 4 == 3:
        return said.fault(tape)
    if request == "hello":
        return Welcome(1, tape.pick((2, 3)), "db", 1, 1, "f", 1, "replay")
    if request == "push":
        return said.pushed(tape)
    if request == "pull":
        return said.page(tape)
    return Repaired("s", 1, [], said.ROWS, said.DIGEST)


HELLO: Final = bytes([0, 1, 0, 0])
WELCOME: Final = bytes([3, 0, 0, 0])
PUSH: Final = bytes([0, 0, 1])
PULL: Final = bytes([0, 0, 2, 0])
REPAIR: Final = bytes([0, 0, 3, 0])
LAST_PAGE: Final = bytes([3, 0, 0, 9, 0, 0, 9, 0, 0, 0, 0, 1, 0, 0, 0])
CHANGE: Final = bytes([5, 10, 0, 11, 0, 0, 0, 0, 0, 0])
SET: Final = bytes([6, 1, 7])


def seeds() -> Iterator[bytes]:
    """A greeting, a round and what follows; changes while a page is read; two requests at once."""
    opened = HELLO + WELCOME
    yield opened + PULL + LAST_PAGE + CHANGE + SET
    yield opened + CHANGE + PULL + SET + LAST_PAGE + CHANGE
    yield opened + PUSH + PULL + PUSH
    yield opened + PULL + REPAIR
    yield PULL + HELLO
    yield opened + bytes([7, 9, 0, 0]) + PULL


TARGETS = (Target("server_session", run, seeds, bytes_max=512),)
