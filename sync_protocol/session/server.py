"""The server session of one stream: hello first, then requests in any order, then pokes.

The device is fixed at welcome. Pokes start at the first page with a checkpoint: what changed while
that page was being read is told at once, so that nothing falls between the page and the pokes.

Invariants
  V1  one push, and one pull or repair, are being served at most
  V2  no poke precedes a checkpoint, and no change after it stays untold
  V3  a page never has the last word about what is provisional if the set changed while it was read
"""

from __future__ import annotations

from typing import Final

import msgspec

from sync_protocol.errors import OutOfTurn
from sync_protocol.messages.fault import Fault, Request
from sync_protocol.messages.hello import Hello
from sync_protocol.messages.page import Page
from sync_protocol.messages.poke import Poke
from sync_protocol.messages.provisional import Provisional
from sync_protocol.messages.pull import Pull
from sync_protocol.messages.push import Push
from sync_protocol.messages.repair import Repair
from sync_protocol.messages.welcome import Welcome
from sync_protocol.session import effects as do
from sync_protocol.session import events as on
from sync_protocol.session.reactions import ENDS_THE_STREAM, REACTIONS
from sync_protocol.session.states import ServerState
from sync_protocol.session.table import Table, rows_of, step


class ServerSession:
    """One stream, from its first message to its end."""

    def __init__(self) -> None:
        self.state = ServerState.EXPECTING_HELLO
        self.device = 0
        self.serving: set[Request] = set()
        self.told = 0
        """The sequence up to which the device has been told of changes."""
        self.changed = 0
        """The highest sequence seen in a change, told or not."""
        self.replicated = 0
        """The highest `replicated` that the device was told, or is to be told."""
        self.provisional: Provisional | None = None
        """The set that came while a page was being read, to be told behind it (V3)."""
        self.effects: list[do.ServerEffect] = []

    def handle(self, event: on.ServerEvent) -> list[do.ServerEffect]:
        """Take one event and return what is to be done, in order.

        A device's message out of turn is answered and ends the stream; OutOfTurn is raised only for
        a mistake of the shell's own.
        """
        before = self.state
        if isinstance(event, on.Received):
            try:
                self.state = step(SERVER_TABLE, self, self.state, event.message)
            except OutOfTurn as error:
                self.state = self.end(error.to_fault())
        else:
            self.state = step(SERVER_TABLE, self, self.state, event)
        if self.state is not before:
            self.effects.append(do.Reached(self.state.value))
        # A page is 1 MiB and a stream lives for hours: what was asked for is not kept with it.
        effects, self.effects = self.effects, []
        return effects

    def serve(self, request: Request, message: Hello | Push | Pull | Repair) -> None:
        """Hand a request to the service."""
        self.serving.add(request)
        self.effects.append(do.Serve(message))

    def end(self, fault: Fault) -> ServerState:
        """Say why, and close."""
        self.effects += [do.Send(fault), do.Close()]
        return ServerState.CLOSED


def _greeted(session: ServerSession, event: Hello) -> ServerState:
    session.serve("hello", event)
    return ServerState.GREETING


def _asked(session: ServerSession, event: Push | Pull | Repair) -> ServerState:
    request: Request = (
        "push" if isinstance(event, Push) else "pull" if isinstance(event, Pull) else "repair"
    )
    beside: set[Request] = {"push"} if request == "push" else {"pull", "repair"}
    if session.serving & beside or event.device != session.device:
        raise OutOfTurn(state=session.state.value, event=type(event).__name__)
    session.serve(request, event)
    return session.state


def _answered(session: ServerSession, event: on.Answered) -> ServerState:
    assert event.request in session.serving, f"no {event.request} is being served"
    session.serving.discard(event.request)
    message = event.message
    if isinstance(message, Fault):
        return _refused(session, event.request, message)
    session.effects.append(do.Send(message))
    if isinstance(message, Welcome):
        session.device = message.device
        return ServerState.OPEN
    if isinstance(message, Page) and message.checkpoint is not None:
        return _subscribed(session, message, message.checkpoint.sequence)
    return session.state


def _refused(session: ServerSession, request: Request, fault: Fault) -> ServerState:
    fault.answers = request
    if REACTIONS[fault.fault] in ENDS_THE_STREAM:
        return session.end(fault)
    session.effects.append(do.Send(fault))
    if session.state is ServerState.GREETING:
        return ServerState.EXPECTING_HELLO
    return session.state


def _subscribed(session: ServerSession, page: Page, sequence: int) -> ServerState:
    session.told = max(session.told, sequence)
    if session.changed > session.told:
        session.effects.append(do.Send(Poke(session.told, session.changed, pull=True)))
        session.told = session.changed
    elif session.replicated > page.replicated:
        news = Poke(session.told, session.told, replicated=session.replicated)
        session.effects.append(do.Send(news))
    session.replicated = max(session.replicated, page.replicated)
    if session.provisional is not None:
        session.effects.append(do.Send(session.provisional))
        session.provisional = None
    return ServerState.SUBSCRIBED


def _changed(session: ServerSession, event: on.Changed) -> ServerState:
    poke = event.poke
    if poke.sequence > session.told and not poke.is_news:
        session.told = poke.sequence
        session.effects.append(do.Send(poke))
    elif (
        poke.replicated > session.replicated
        or poke.provisional is not None
        or (poke.is_news and poke.merged_through)
    ):
        told = session.told
        news = msgspec.structs.replace(
            poke, since=told, sequence=told, pull=False, spaces=[], digests={}
        )
        session.effects.append(do.Send(news))
    session.replicated = max(session.replicated, poke.replicated)
    if poke.provisional is not None:
        _kept_for_after_the_page(session, Provisional(poke.provisional))
    return session.state


def _changed_early(session: ServerSession, event: on.Changed) -> ServerState:
    poke = event.poke
    if not poke.is_news:
        session.changed = max(session.changed, poke.sequence)
    session.replicated = max(session.replicated, poke.replicated)
    if poke.provisional is not None:
        _kept_for_after_the_page(session, Provisional(poke.provisional))
    return session.state


def _provisional(session: ServerSession, event: on.ProvisionalChanged) -> ServerState:
    session.effects.append(do.Send(event.message))
    _kept_for_after_the_page(session, event.message)
    return session.state


def _provisional_early(session: ServerSession, event: on.ProvisionalChanged) -> ServerState:
    _kept_for_after_the_page(session, event.message)
    return session.state


def _kept_for_after_the_page(session: ServerSession, message: Provisional) -> None:
    """Note a set that a page may contradict which is being read: it was made before (V3)."""
    if "pull" in session.serving:
        session.provisional = message


def _expelled(session: ServerSession, event: on.Expelled) -> ServerState:
    return session.end(event.fault)


def _gone(_session: ServerSession, _event: on.Disconnected) -> ServerState:
    return ServerState.CLOSED


def _stay(session: ServerSession, _event: object) -> ServerState:
    return session.state


_EXPECTING, _GREETING, _OPEN, _SUBSCRIBED, _CLOSED = ServerState
_ALIVE = (_EXPECTING, _GREETING, _OPEN, _SUBSCRIBED)

SERVER_TABLE: Final[Table] = {
    **rows_of(_EXPECTING, Hello, _greeted, _GREETING),
    **rows_of(_GREETING, on.Answered, _answered, _OPEN, _EXPECTING, _CLOSED),
    **{
        key: row
        for request in (Push, Pull, Repair)
        for key, row in rows_of((_OPEN, _SUBSCRIBED), request, _asked).items()
    },
    **rows_of(_OPEN, on.Answered, _answered, _OPEN, _SUBSCRIBED, _CLOSED),
    **rows_of(_SUBSCRIBED, on.Answered, _answered, _SUBSCRIBED, _CLOSED),
    **rows_of(_SUBSCRIBED, on.Changed, _changed),
    **rows_of((_EXPECTING, _GREETING, _OPEN), on.Changed, _changed_early),
    **rows_of(_SUBSCRIBED, on.ProvisionalChanged, _provisional),
    **rows_of((_EXPECTING, _GREETING, _OPEN), on.ProvisionalChanged, _provisional_early),
    **rows_of(_ALIVE, on.Expelled, _expelled, _CLOSED),
    **rows_of(_ALIVE, on.Disconnected, _gone, _CLOSED),
    **{
        key: row
        for event in (
            Hello,
            Push,
            Pull,
            Repair,
            on.Answered,
            on.Changed,
            on.ProvisionalChanged,
            on.Expelled,
        )
        for key, row in rows_of(_CLOSED, event, _stay).items()
    },
    **rows_of(_CLOSED, on.Disconnected, _stay),
}
