"""The client session: hello, then pushes and pulls side by side, then live.

One machine serves a socket and plain HTTP alike. The shell carries out effects in order, and feeds
the store's answers back before it feeds the next message of the link. Pushes are a machine of their
own (`push_lane`); what is read is this one; its table is in `client_table`.

Invariants
  S1  no effect deletes a mutation that has no final receipt
  S2  at most one hello, pull or repair is unanswered, and at most one push
  S3  pages are shown only as whole rounds
  S4  one repair per space between two visits to `live`, so that a mismatch cannot loop
  S5  a node that is behind is asked again after a delay, and nothing is live meanwhile
  S6  while a welcome was stale, or a mutation has no final receipt, a link that is live is given up
      for another after a delay: only a hello tells of mutations that nobody has any more
  S7  of another database than the one that has welcomed the device, outcomes settle nothing and
      pages are not taken, but of one that goes on from it, which alone counts then; if that node
      was behind, the one that was read last counts too, until another is read
  S8  nobody is greeted by a database that the one greeted or read last goes on from: its primary
      was replaced, and does not know it; nor by a node that is behind, under a number that another
      database than that one gave: what it has merged since would be sent again
  S9  what is read from zero again is not read of less than was read before, unless the primary
      itself has no more: a node that is behind is waited for
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from sync_protocol import limits
from sync_protocol.messages.pull import Pull
from sync_protocol.messages.repair import Repair
from sync_protocol.session import effects as do
from sync_protocol.session import events as on
from sync_protocol.session.client_table import CLIENT_TABLE
from sync_protocol.session.push_lane import PushLane
from sync_protocol.session.states import ClientState
from sync_protocol.session.table import step

if TYPE_CHECKING:
    from sync_protocol.messages.cursor import Cursor
    from sync_protocol.messages.hello import Hello


BEHIND_ATTEMPT_MAX: Final = 3
"""A replica follows at once when its link is back: it is asked every four seconds or sooner."""
DOUBT_MS: Final = 60_000
"""An edge drains within seconds of its primary's return: who waits longer may wait for nothing."""
DOUBT_DOUBLINGS_MAX: Final = 4
"""A quarter of an hour: everything that waits is sent again over the new link."""


class ClientSession:
    """One device's session over any number of links, one after the other.

    `has_pokes` is False over plain HTTP, where nothing tells the device of changes: then each
    drained queue is followed by a pull.
    """

    def __init__(
        self, *, rows_max: int = limits.ROWS_PER_PAGE_DEFAULT, has_pokes: bool = True
    ) -> None:
        self.state = ClientState.OFFLINE
        self.effects: list[do.ClientEffect] = []
        self.lane = PushLane(self.effects)
        self.rows_max = rows_max
        self.has_pokes = has_pokes
        self.hello: Hello | None = None
        self.device = 0
        self.databases: frozenset[str] = frozenset()
        """Whose outcomes count on this link (S7); an answer without any final one names none."""
        self.replaced: frozenset[str] = frozenset()
        """Databases that another goes on from, as the device has learnt (S8)."""
        self.numbered: tuple[str, int] = ("", 0)
        """The database greeted or read last, and the device's number there (S8)."""
        self.cursor: Cursor | None = None
        """How far confirmed rows have been read."""
        self.floor: Cursor | None = None
        """How far rows went that are read from zero again (S9); None: they are not."""
        self.reading: Cursor | None = None
        """How far pages have been kept aside beyond `cursor`; None outside a round."""
        self.asked: Hello | Pull | Repair | None = None
        """The hello, pull or repair sent last (S2)."""
        self.damaged: dict[str, dict[str, list[bytes]]] = {}
        """Spaces to repair, with the device's digests."""
        self.repaired: set[str] = set()
        """Spaces repaired since the session was last live (S4)."""
        self.is_stale = False
        """Whether another round is due after this one."""
        self.is_behind = False
        """Whether the node had not reached what was asked for when it answered last (S5)."""
        self.is_unsure = False
        """Whether this link's welcome was stale (S6)."""
        self.doubted = 0
        """What had no final receipt when a delay of S6 began."""
        self.is_doubting = False
        """Whether a delay of S6 is running."""
        self.doubts = 0
        """Links given up for S6, one after the other."""
        self.latest = 0
        """The highest sequence the server has told of, in a poke or for our own pushes."""
        self.attempt = 0

    def handle(self, event: on.ClientEvent) -> list[do.ClientEffect]:
        """Take one event and return what is to be done, in order.

        Raise OutOfTurn, or MalformedMessage for an answer that cannot be meant: then close the link
        and feed Disconnected.
        """
        before = self.state
        self.effects.clear()
        happened = event.message if isinstance(event, on.Received) else event
        self.state = step(CLIENT_TABLE, self, self.state, happened)
        if self.state is ClientState.LIVE:
            self._doubt()
        if self.state is not before:
            self.effects.append(do.Reached(self.state.value))
        return list(self.effects)

    @property
    def sequence(self) -> int:
        """The sequence up to which confirmed rows have been read."""
        return 0 if self.cursor is None else self.cursor.sequence

    @property
    def schema_version(self) -> int:
        """The schema version the device has introduced itself with."""
        assert self.hello is not None
        return self.hello.schema_version

    def greet(self) -> ClientState:
        """Say hello."""
        assert self.hello is not None
        self.ask(self.hello)
        return ClientState.GREETING

    def pull(self) -> ClientState:
        """Ask for the next page."""
        self.is_stale = False
        self.ask(
            Pull(
                device=self.device,
                schema_version=self.schema_version,
                cursor=self.reading or self.cursor,
                rows_max=self.rows_max,
                unconfirmed=self.lane.unconfirmed,
                wait_for=self.latest if self.latest > self.sequence else 0,
            )
        )
        return ClientState.PULLING

    def ask(self, message: Hello | Pull | Repair) -> None:
        """Send a message of the reading machine."""
        self.asked = message
        self.effects.append(do.Send(message))

    def go_on(self) -> ClientState:
        """Choose what follows a round or repair: a repair, a delay, another round, or live."""
        if self.damaged:
            space = next(iter(self.damaged))
            self.repaired.add(space)
            self.ask(Repair(self.device, self.schema_version, space, self.damaged.pop(space)))
            return ClientState.REPAIRING
        if self.is_behind and self.latest > self.sequence:
            return self.wait_for_the_node()
        self.is_behind = False
        if self.is_stale:
            return self.pull()
        self.repaired.clear()
        return ClientState.LIVE

    def wait_for_the_node(self) -> ClientState:
        """Pull again after a delay: the node has not got what is asked for (S5)."""
        self.effects.append(do.Retry("read", None, min(self.attempt, BEHIND_ATTEMPT_MAX)))
        self.attempt += 1
        return ClientState.WAITING

    def _doubt(self) -> None:
        """Begin a delay of S6, with a reason. Without pokes every round begins with a hello."""
        if not (self.is_unsure or self.lane.unconfirmed):
            self.doubts = 0
        elif self.has_pokes and not self.is_doubting:
            self.is_doubting = True
            self.doubted = self.lane.unconfirmed
            delay_ms = DOUBT_MS << min(self.doubts, DOUBT_DOUBLINGS_MAX)
            self.effects.append(do.Retry("greet", delay_ms, self.doubts))

    def doubt_due(self) -> ClientState:
        """Give up the link if what was doubted still is; elsewhere than live it is not idle."""
        self.is_doubting = False
        if self.state is not ClientState.LIVE:
            return self.state
        if self.is_unsure or (self.doubted and self.doubted == self.lane.unconfirmed):
            self.doubts += 1
            return self.leave(after_ms=0)
        self.doubts = 0
        return self.state

    def forget_cursor(self) -> None:
        """Read from zero again."""
        assert self.hello is not None
        self.hello = msgspec.structs.replace(self.hello, cursor=None)
        self.floor = self.cursor or self.floor
        self.cursor = self.reading = None
        self.effects.append(do.ResetRead())

    def put_back_repair(self) -> None:
        """Remember a repair that was asked for and not answered."""
        if isinstance(self.asked, Repair):
            self.damaged[self.asked.space] = self.asked.digests
            self.repaired.discard(self.asked.space)

    def leave(self, *, after_ms: int | None = None) -> ClientState:
        """Give up the link and ask for a new one."""
        self.give_up()
        self.effects.append(do.Reconnect(after_ms, self.attempt))
        self.attempt += 1
        return ClientState.OFFLINE

    def give_up(self) -> None:
        """Forget what belongs to the link."""
        self.put_back_repair()
        self.asked = None
        self.lane.stop()
