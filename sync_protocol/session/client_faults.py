"""What the client session does with a fault: the reaction that `reactions` names for its kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sync_protocol.faults import FaultKind
from sync_protocol.messages.repair import Repair
from sync_protocol.session import effects as do
from sync_protocol.session.client_reads import after_lane
from sync_protocol.session.reactions import REACTIONS, Reaction
from sync_protocol.session.states import ClientState

if TYPE_CHECKING:
    from collections.abc import Callable

    from sync_protocol.messages.fault import Fault
    from sync_protocol.session.client import ClientSession

ACCEPTED_WAIT_MS: Final = 5_000
"""An edge drains within five seconds of its primary's return, and only a primary renews."""


def faulted(session: ClientSession, event: Fault) -> ClientState:
    """Let the pushes deal with their own faults, and react to all others.

    What another database than the one greeted says of this device's counters means nothing (S7),
    nor what one says that was replaced, by which a node that was behind has greeted (S8).
    """
    if event.database and event.database not in session.databases - session.replaced:
        return session.leave(after_ms=event.retry_after_ms)
    if session.lane.takes(event):
        session.lane.handle(event)
        return after_lane(session)
    return _REACT[REACTIONS[event.fault]](session, event)


def _retry(session: ClientSession, event: Fault) -> ClientState:
    if event.answers in {None, "push"} or session.asked is None:
        return session.leave(after_ms=event.retry_after_ms)
    session.effects.append(do.Retry("read", event.retry_after_ms, session.attempt))
    session.attempt += 1
    return ClientState.WAITING


def _greet(session: ClientSession, event: Fault) -> ClientState:
    return session.leave(after_ms=event.retry_after_ms)


def _renew(session: ClientSession, event: Fault) -> ClientState:
    if event.fault == FaultKind.CLONED_DEVICE and session.lane.has_accepted:
        # The next link sends it again, and hears what became of it (P3 of the push lane).
        return session.leave(after_ms=event.retry_after_ms or ACCEPTED_WAIT_MS)
    is_gap = event.fault == FaultKind.COUNTER_GAP
    lost = (event.database, event.merged_through or 0) if is_gap else ("", 0)
    session.effects.append(do.BecomeNew(*lost))
    return session.leave(after_ms=event.retry_after_ms)


def _reset_read(session: ClientSession, event: Fault) -> ClientState:
    if event.answers == "push":
        # What was asked for is still unanswered: nothing more is asked on this link (S2).
        return _greet(session, event)
    if session.asked is None or (session.cursor or session.reading) is None:
        return _retry(session, event)
    session.forget_cursor()
    return session.greet() if session.device == 0 else session.pull()


def _pull(session: ClientSession, event: Fault) -> ClientState:
    if not isinstance(session.asked, Repair) or event.answers == "push":
        return _stop(session, event)
    return session.pull()


def _sign_in(session: ClientSession, event: Fault) -> ClientState:
    session.give_up()
    session.effects.append(do.SignIn(event))
    return ClientState.STOPPED


def _stop(session: ClientSession, event: Fault) -> ClientState:
    session.give_up()
    session.effects.append(do.Stop(event))
    return ClientState.STOPPED


_REACT: Final[dict[Reaction, Callable[[ClientSession, Fault], ClientState]]] = {
    Reaction.RETRY: _retry,
    Reaction.SHRINK: _stop,
    Reaction.RESEND: _renew,
    Reaction.GREET: _greet,
    Reaction.RENEW: _renew,
    Reaction.RESET_READ: _reset_read,
    Reaction.PULL: _pull,
    Reaction.SIGN_IN: _sign_in,
    Reaction.STOP: _stop,
}
"""SHRINK and RESEND come here only when the pushes can do no more about them."""
