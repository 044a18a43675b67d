"""The client session: a shell and a store that do their work, and a server that says anything.

Each run ends with a server that does its work too: whatever was said before, the phone becomes
live, and every mutation it holds gets its receipt.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

import msgspec

from sync_protocol import codec
from sync_protocol.errors import MalformedMessage, OutOfTurn, ProtocolError
from sync_protocol.messages.cursor import Cursor
from sync_protocol.messages.fault import Fault
from sync_protocol.messages.hello import Hello
from sync_protocol.messages.page import Checkpoint, Page
from sync_protocol.messages.pull import Pull
from sync_protocol.messages.push import Push
from sync_protocol.messages.pushed import Pushed
from sync_protocol.messages.repair import Repair
from sync_protocol.messages.repaired import Repaired
from sync_protocol.messages.union import ClientMessage, ServerMessage
from sync_protocol.messages.welcome import Welcome
from sync_protocol.session import effects as do
from sync_protocol.session import events as on
from sync_protocol.session.client import ClientSession
from sync_protocol.session.states import ClientState, LaneState
from tests.fuzz.tape import Tape
from tests.fuzz.target import Target
from tests.fuzz.targets import said

STEPS_MAX: Final = 60
EFFECTS_MAX: Final = 6
ANSWERS_MAX: Final = 200
"""Steps of the honest server at the end: one repair per space, some rounds, one push each."""
HONEST_SEQUENCE: Final = 2**52
MUTATION: Final = msgspec.Raw(b"\xc0")
ENDS: Final = (do.Reconnect, do.SignIn, do.Stop)
ANSWERED_BY: Final = {Welcome: Hello, Page: Pull, Repaired: Repair}


class Phone:
    """A session with its shell and store, and what its invariants say of what it has done."""

    def __init__(self, tape: Tape) -> None:
        self.session = ClientSession(rows_max=tape.byte() + 1, has_pokes=tape.flag())
        self.tape: Tape | None = tape
        self.is_linked = False
        self.cursor: Cursor | None = None
        self.counter = 0
        self.waiting: dict[int, bool] = {}
        """Mutations without a final receipt; whether they were sent."""
        self.asked: ClientMessage | None = None
        self.pushed: Push | None = None
        self.through = 0
        self.kept = 0
        self.repaired: set[str] = set()
        self.retries: list[do.Retry] = []
        self.happening: on.ClientEvent | None = None
        self._answers: deque[on.ClientEvent] = deque()

    def feed(self, event: on.ClientEvent) -> None:
        """Feed an event, carry out what comes of it, and then feed the store's answers."""
        self._answers.append(event)
        while self._answers:
            self._handle(self._answers.popleft())

    def _handle(self, event: on.ClientEvent) -> None:
        session, before = self.session, self.session.state
        self.happening = event
        if isinstance(event, on.Received):
            self._answered(event.message)
        if isinstance(event, on.Connected | on.Disconnected):
            self._cut(is_linked=isinstance(event, on.Connected))
        try:
            effects = session.handle(event)
        except (OutOfTurn, MalformedMessage):
            assert session.state is before
            assert not isinstance(event, on.Disconnected)
            self._answers.clear()
            self._answers.append(on.Disconnected())
            return
        assert len(effects) <= EFFECTS_MAX
        for effect in effects:
            self._carry_out(effect)
        if session.state is ClientState.LIVE:
            is_behind = session.is_behind and session.latest > session.sequence
            assert not is_behind, "S5"

    def _answered(self, message: ClientMessage | ServerMessage) -> None:
        """Take note of what a message answers (S2, P1)."""
        if isinstance(message, Pushed):
            self.pushed = None
        elif isinstance(message, Fault):
            if message.answers in {"push", None}:
                self.pushed = None
            if message.answers != "push":
                self.asked = None
        elif isinstance(self.asked, ANSWERED_BY.get(type(message), ())):
            if isinstance(message, Repaired):
                self.repaired.add(message.space)
            self.asked = None

    def _cut(self, *, is_linked: bool) -> None:
        self.is_linked = is_linked
        self.asked = self.pushed = None
        self.through = 0
        self.retries.clear()
        self.repaired.clear()

    def _carry_out(self, effect: do.ClientEffect) -> None:
        if isinstance(effect, ENDS):
            self._cut(is_linked=False)
            return
        carry_out = getattr(self, f"_{type(effect).__name__.lower()}", None)
        if carry_out is not None:
            carry_out(effect)

    def _becomenew(self, _effect: do.BecomeNew) -> None:
        """Number the queue from 1 again; nothing of it is lost (S1)."""
        self.waiting = dict.fromkeys(range(1, len(self.waiting) + 1), False)
        self.counter = len(self.waiting)

    def _keeppage(self, effect: do.KeepPage) -> None:
        assert effect.page.more
        self.kept += 1

    def _applypoke(self, effect: do.ApplyPoke) -> None:
        assert not self.kept, "S3: a poke is applied inside a round"
        assert self.cursor is not None
        assert effect.poke.since <= self.cursor.sequence < effect.poke.sequence
        self.cursor = Cursor(self.cursor.database, effect.poke.sequence)
        self._find_damage()

    def _applyrepair(self, effect: do.ApplyRepair) -> None:
        is_equal = self.tape is None or self.tape.flag()
        self._answers.append(on.RepairApplied(effect.repaired.space, is_equal))

    def _resetread(self, _effect: do.ResetRead) -> None:
        self.cursor, self.kept = None, 0

    def _retry(self, effect: do.Retry) -> None:
        self.retries.append(effect)

    def _reached(self, effect: do.Reached) -> None:
        if effect.state == ClientState.LIVE:
            self.repaired.clear()

    def _send(self, effect: do.Send) -> None:
        message = effect.message
        assert self.is_linked, "something is sent without a link"
        if isinstance(message, Push):
            assert self.pushed is None, "P1"
            assert isinstance(self.happening, on.PushReady)
            self.pushed = message
            return
        assert isinstance(message, Hello | Pull | Repair)
        assert self.asked is None, "S2"
        if isinstance(message, Repair):
            assert message.space not in self.repaired, "S4"
        self.asked = message

    def _preparepush(self, effect: do.PreparePush) -> None:
        """Answer with what waits behind a counter: nothing unsent is ever skipped (P2)."""
        skipped = [each for each, is_sent in self.waiting.items() if each <= effect.after_counter]
        assert all(self.waiting[each] for each in skipped), "P2: unsent mutations are skipped"
        chosen = [each for each in self.waiting if each > effect.after_counter]
        chosen = chosen[: min(effect.mutations_max, 2)]
        push = Push(effect.device, 1, 1, [MUTATION] * len(chosen)) if chosen else None
        self.waiting.update(dict.fromkeys(chosen, True))
        unconfirmed = next((each for each, is_sent in self.waiting.items() if is_sent), 0)
        self._answers.append(on.PushReady(push, chosen[-1] if chosen else 0, unconfirmed))

    def _settle(self, effect: do.Settle) -> None:
        """The store's part of S1: what has a final receipt waits no more."""
        pushed = effect.pushed
        assert isinstance(self.happening, on.Received)
        assert self.happening.message is pushed
        final = {each.counter for each in pushed.receipts if each.outcome != "accepted"}
        for counter, is_sent in list(self.waiting.items()):
            is_run = any(first <= counter <= last for first, last, _ in pushed.merged)
            if is_sent and (is_run or counter in final):
                del self.waiting[counter]

    def _applyround(self, effect: do.ApplyRound) -> None:
        page = effect.page
        assert not page.more, "S3"
        assert page.checkpoint is not None, "S3"
        self.kept = 0
        self.cursor = page.cursor
        self._find_damage()
        unconfirmed = next((each for each, is_sent in self.waiting.items() if is_sent), 0)
        self._answers.append(on.RoundApplied(page.cursor, unconfirmed))

    def _find_damage(self) -> None:
        if self.tape is not None and self.tape.byte() % 3 == 2:
            self._answers.append(on.Mismatched(self.tape.pick(said.SPACES), said.DIGESTS))

    def connect(self) -> None:
        """Make a link, as a shell does when there is none."""
        hello = Hello(1, "a", 1, "f", "i", 1, self.counter, self.cursor)
        self.feed(on.Connected(hello))

    def write(self) -> None:
        """Queue a mutation."""
        self.counter += 1
        self.waiting[self.counter] = False
        self.feed(on.QueueChanged())

    def finish(self) -> None:
        """Meet a server that does its work: the phone becomes live, and nothing waits."""
        self.tape = None
        if self.session.state not in {ClientState.OFFLINE, ClientState.STOPPED}:
            self.feed(on.Disconnected())
        self.connect()
        for _ in range(ANSWERS_MAX):
            if self.pushed is not None:
                self.feed(on.Received(self._receipts()))
            elif self.asked is not None:
                self.feed(on.Received(self._answer(self.asked)))
            elif self.retries:
                self.feed(on.RetryDue(self.retries.pop(0).of))
            else:
                break
        assert self.session.state is ClientState.LIVE, self.session.state
        assert self.session.lane.state is LaneState.IDLE
        assert not self.waiting, "a mutation has got no receipt"

    def _receipts(self) -> Pushed:
        sent = [each for each, is_sent in self.waiting.items() if is_sent]
        run = (sent[0], sent[-1], HONEST_SEQUENCE)
        return Pushed(sent[-1], HONEST_SEQUENCE, [run])

    def _answer(self, asked: ClientMessage) -> ServerMessage:
        if isinstance(asked, Hello):
            return Welcome(1, 9, "db", HONEST_SEQUENCE, 1, "f", 1, "replay")
        if isinstance(asked, Repair):
            return Repaired(asked.space, HONEST_SEQUENCE, [], said.ROWS, said.DIGEST)
        cursor = Cursor("db", HONEST_SEQUENCE)
        return Page(cursor, more=False, reset=True, checkpoint=Checkpoint(HONEST_SEQUENCE, {}))


def run(content: bytes) -> None:
    """A tape of links, messages and the store's answers, and then an honest server.

    Invariant: S1 to S5 of sync_protocol.session.client, P1 and P2 of push_lane; a bounded number of
    effects per event; an error changes no state; whatever was said, an honest server settles all.
    Errors: OutOfTurn and MalformedMessage, after which the link is closed.
    """
    tape = Tape(content)
    phone = Phone(tape)
    for _ in range(STEPS_MAX):
        if tape.is_at_end:
            break
        _step(tape, phone)
    phone.finish()


def _step(tape: Tape, phone: Phone) -> None:
    kind = tape.byte() % 10
    is_apart = phone.session.state in {ClientState.OFFLINE, ClientState.STOPPED}
    if kind == 0 and is_apart:
        phone.connect()
    elif kind <= 3:
        phone.feed(on.Received(said.server_message(tape)))
    elif kind == 4:
        try:
            message = codec.decode_server(tape.take(tape.byte()))
        except ProtocolError:
            return
        phone.feed(on.Received(message))
    elif kind == 5:
        phone.write()
    elif kind == 6:
        phone.feed(on.PullWanted())
    elif kind == 7:
        phone.feed(on.RetryDue(tape.pick(("push", "read"))))
    elif kind == 8:
        phone.feed(on.Disconnected())
    else:
        phone.feed(_late(tape, phone.session.state))


def _late(tape: Tape, state: ClientState) -> on.ClientEvent:
    """What a store still answers when the session has gone on."""
    kind = tape.byte() % 3
    if kind == 0:
        return on.Mismatched(tape.pick(said.SPACES), said.DIGESTS)
    if kind == 1 and state is not ClientState.REPAIRING:
        return on.RepairApplied(tape.pick(said.SPACES), tape.flag())
    return on.PushReady(None)


CONNECT: Final = bytes([0])
WRITE: Final = bytes([5])
WELCOME: Final = bytes([1, 0, 1, 0, 9, 0])
PUSHED: Final = bytes([1, 1, 1, 0, 1, 9, 1, 1, 9, 0])
MORE: Final = bytes([1, 2, 4, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0])
LAST: Final = bytes([1, 2, 9, 0, 0, 9, 0, 0, 0, 9, 1, 0, 0, 0, 0])
PULL_WANTED: Final = bytes([6])
DAMAGE: Final = bytes([9, 0, 0])
DAMAGED: Final = LAST[:-1] + bytes([2, 0])
REPAIRED: Final = bytes([1, 3, 0, 0, 9, 0])
STALE: Final = bytes([1, 2, 9, 0, 0, 0, 0, 0, 0, 9, 1, 0, 0, 1])
POKE: Final = bytes([1, 4, 9, 0, 12, 0, 1, 0, 0, 0, 0])


def seeds() -> Iterator[bytes]:
    """A first sync, a push, a round of two pages, a poke, and faults of every kind."""
    start = bytes([1, 1]) + WRITE + CONNECT + WELCOME
    yield start + PUSHED + LAST + POKE
    yield start + PUSHED + MORE + LAST
    yield start + PUSHED + STALE + LAST
    yield start + PUSHED + DAMAGED + REPAIRED + DAMAGED + REPAIRED
    for kind in range(len(said.FAULTS)):
        for answers in range(len(said.ANSWERS)):
            fault = bytes([1, 6, kind, answers, 0, 0])
            yield start + fault + WRITE
            yield start + PUSHED + fault
            yield start + PUSHED + LAST + fault + bytes([7, 1])
            yield start + PUSHED + LAST + PULL_WANTED + fault
            yield start + PUSHED + LAST + DAMAGE + fault


TARGETS = (Target("client_session", run, seeds, bytes_max=512),)
