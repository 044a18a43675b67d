"""What the client session does with each event, except faults. Handlers return the next state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.ids import FIRST_DEVICE
from sync_protocol.errors import MalformedMessage
from sync_protocol.messages.cursor import Cursor
from sync_protocol.messages.repair import Repair
from sync_protocol.session import effects as do
from sync_protocol.session.states import ClientState

if TYPE_CHECKING:
    from sync_protocol.messages.page import Page
    from sync_protocol.messages.poke import Poke
    from sync_protocol.messages.provisional import Provisional
    from sync_protocol.messages.pushed import Pushed
    from sync_protocol.messages.repaired import Repaired
    from sync_protocol.messages.welcome import Welcome
    from sync_protocol.session import events as on
    from sync_protocol.session.client import ClientSession


def stay(session: ClientSession, _event: object) -> ClientState:
    """Let an event pass that changes nothing now."""
    return session.state


def connected(session: ClientSession, event: on.Connected) -> ClientState:
    """Say hello; pages kept aside are good only if the store stands where the session does."""
    session.hello = event.hello
    session.replaced, session.numbered = event.replaced, event.numbered
    session.floor = event.floor
    if event.hello.cursor != session.cursor:
        session.cursor = event.hello.cursor
        session.reading = None
    session.device = 0
    session.is_doubting = False
    session.repaired.clear()
    return session.greet()


def disconnected(session: ClientSession, _event: on.Disconnected) -> ClientState:
    """Ask for a new link."""
    return session.leave()


def welcomed(session: ClientSession, event: Welcome) -> ClientState:
    """Become the device the server knows, and push what it has not got."""
    if event.device < FIRST_DEVICE:
        raise MalformedMessage(f"a phone is not device {event.device}")
    if event.database in session.replaced and not event.stale:
        # By its word the device would send again what is judged, and lacks what it has dropped.
        raise MalformedMessage("a primary that was replaced does not know it yet")
    database, number = session.numbered
    if event.stale and number not in {0, event.device} and event.database != database:
        raise MalformedMessage("a node that is behind knows this device by another number")
    session.asked = None
    session.device = event.device
    session.databases = frozenset({"", event.database})
    if event.stale and session.cursor is not None:
        session.databases |= {session.cursor.database}
    session.is_behind = session.is_unsure = event.stale
    session.latest = 0
    session.effects.append(do.BecomeDevice(event))
    if event.resume == "reset" and (session.cursor or session.reading) is not None:
        session.forget_cursor()
    if not event.stale and _is_below(session.floor, event.database, event.sequence):
        session.floor = None  # The primary itself has no more.
    session.lane.start(device=event.device)
    return ClientState.PUSHING


def lane_moved(session: ClientSession, event: on.PushReady | on.QueueChanged) -> ClientState:
    """Hand an event to the pushes; a drained queue lets reading go first.

    While a hello waits to be repeated there is no device to push for: welcome starts with all.
    """
    if session.device == 0:
        return session.state
    session.lane.handle(event)
    return after_lane(session)


def pushed(session: ClientSession, event: Pushed) -> ClientState:
    """Settle receipts, and remember up to where our own writes have to be read.

    While two nodes both take themselves for the primary, requests may reach one and then the other
    (S7): the next link says whose database counts, and everything is sent again.
    """
    if event.database not in session.databases:
        raise MalformedMessage("outcomes are told of another database than the one greeted")
    session.lane.handle(event)
    session.attempt = 0
    session.latest = max(session.latest, event.sequence)
    return after_lane(session)


def after_lane(session: ClientSession) -> ClientState:
    """Begin a round when the pushes allow it and it is due."""
    if session.lane.is_drained:
        if session.state is ClientState.PUSHING:
            return session.pull()
        is_behind = session.latest > session.sequence
        if session.state is ClientState.LIVE and is_behind and not session.has_pokes:
            return session.pull()
    return session.state


def page(session: ClientSession, event: Page) -> ClientState:
    """Keep a page aside, or apply its round."""
    asked_for = session.reading or session.cursor
    if event.more and event.cursor == asked_for:
        raise MalformedMessage("a page with more behind it does not move the cursor")
    if not event.more and event.checkpoint is None:
        raise MalformedMessage("the last page of a round has no checkpoint")
    session.asked = None
    session.is_behind = event.stale
    if event.stale and event.cursor == asked_for:
        return session.wait_for_the_node()
    database = event.cursor.database
    # It goes on from the one that was greeted if it knows a cursor of that one. Else the node has
    # not heard of that yet, and sequences of the two say nothing about one another (S7).
    if database not in session.databases and (
        asked_for is None or asked_for.database not in session.databases
    ):
        raise MalformedMessage("a page is of another database than the one greeted")
    if _is_of_less(event, session.floor):
        session.is_behind = True
        if session.reading is not None:
            session.forget_cursor()
        return session.wait_for_the_node()
    if session.cursor is None or database != session.cursor.database:
        session.databases = frozenset({"", database})
    if not event.stale:
        session.attempt = 0
    if not event.more:
        session.effects.append(do.ApplyRound(event))
        return ClientState.APPLYING
    # The server makes the next page while the store keeps this one. Whoever is killed in between
    # goes on from what was kept, and asks for the same page again.
    session.reading = event.cursor
    state = session.pull()
    session.effects.append(do.KeepPage(event))
    return state


def _is_of_less(page: Page, floor: Cursor | None) -> bool:
    """Tell whether the round of a page will have read less than `floor`, as far as it tells."""
    cursor, backfill = page.cursor, page.cursor.backfill
    if backfill is not None:
        return _is_below(floor, cursor.database, backfill.until)
    return not page.more and _is_below(floor, cursor.database, cursor.sequence)


def _is_below(floor: Cursor | None, database: str, sequence: int) -> bool:
    return floor is not None and floor.database == database and sequence < floor.sequence


def round_applied(session: ClientSession, event: on.RoundApplied) -> ClientState:
    """Repair what differs, read what has come meanwhile, else be live."""
    has_moved = event.cursor.sequence > session.sequence
    round_applied_late(session, event)
    if session.latest > session.sequence and has_moved:
        session.is_stale = True
    return session.go_on()


def round_applied_late(session: ClientSession, event: on.RoundApplied) -> ClientState:
    """Take note of a round that the store finished after the link was gone."""
    session.cursor = event.cursor
    session.floor = session.reading = None
    session.lane.unconfirmed = event.unconfirmed
    return session.state


def mismatched(session: ClientSession, event: on.Mismatched) -> ClientState:
    """Note a damaged space, and repair it at once when live; report it when that did not help."""
    if event.space in session.repaired:
        session.effects.append(do.ReportDamage(event.space))
        return session.state
    session.damaged[event.space] = event.digests
    return session.go_on() if session.state is ClientState.LIVE else session.state


def repaired(session: ClientSession, event: Repaired) -> ClientState:
    """Replace the damaged buckets."""
    if not isinstance(session.asked, Repair) or session.asked.space != event.space:
        raise MalformedMessage("a repair of another space was asked for")
    session.asked = None
    session.attempt = 0
    session.effects.append(do.ApplyRepair(event))
    return ClientState.REPAIRING


def repair_applied(session: ClientSession, event: on.RepairApplied) -> ClientState:
    """Read on when the space differs still: its other rows may have changed meanwhile."""
    session.is_stale = session.is_stale or not event.is_equal
    return session.go_on()


def poked_live(session: ClientSession, event: Poke) -> ClientState:
    """Apply a poke that begins at or before what has been read, else pull.

    Rows are whole states: those that were read already are harmless, and none is left out.
    """
    lane = session.lane
    # The outcome of what an edge has accepted comes with a page, which tells whose it is.
    is_judged = lane.is_drained and 0 < lane.unconfirmed <= event.merged_through
    if event.is_news or event.sequence <= session.sequence:
        _news(session, event)
        return session.pull() if is_judged else ClientState.LIVE
    session.latest = max(session.latest, event.sequence)
    if session.cursor is None or event.pull or event.since > session.sequence or is_judged:
        return session.pull()
    session.effects.append(do.ApplyPoke(event))
    session.cursor = Cursor(session.cursor.database, event.sequence)
    if lane.unconfirmed <= event.merged_through:
        lane.unconfirmed = 0
    return ClientState.LIVE


def poked_busy(session: ClientSession, event: Poke) -> ClientState:
    """Remember that there is more to read than the present round may bring."""
    if event.is_news:
        return _news(session, event)
    session.latest = max(session.latest, event.sequence)
    return session.state


def provisional(session: ClientSession, event: Provisional) -> ClientState:
    """Show what others have written and nobody has judged yet."""
    session.effects.append(do.ApplyProvisional(event.mutations))
    return session.state


def _news(session: ClientSession, event: Poke) -> ClientState:
    """Take what a poke tells beside rows."""
    if event.replicated:
        session.effects.append(do.NoteReplicated(event.replicated))
    if event.provisional is not None and event.is_news:
        session.effects.append(do.ApplyProvisional(event.provisional))
    return session.state


def pull_wanted_live(session: ClientSession, _event: on.PullWanted) -> ClientState:
    """Begin a round."""
    return session.pull()


def pull_wanted_busy(session: ClientSession, _event: on.PullWanted) -> ClientState:
    """Let another round follow the present one."""
    session.is_stale = True
    return session.state


def retry_due(session: ClientSession, event: on.RetryDue) -> ClientState:
    """Ask again, after a delay."""
    if event.of == "greet":
        return session.doubt_due()
    if event.of == "push":
        session.lane.handle(event)
        return after_lane(session)
    if session.state is not ClientState.WAITING:
        return session.state
    if session.device == 0:
        return session.greet()
    if isinstance(session.asked, Repair):
        session.ask(session.asked)
        return ClientState.REPAIRING
    return session.pull()
