"""The client's pushes: one in flight, in counter order, independent of what is being read.

Invariants
  P1  at most one push is unanswered
  P2  nothing leaves the queue here: `Settle` hands receipts to the store, which decides by them
  P3  a device takes no new identity while something that it has sent on the link is only accepted:
      that is judged under the old one, and would be merged twice
"""

from __future__ import annotations

from typing import Final

from sync_protocol import limits
from sync_protocol.messages.fault import Fault
from sync_protocol.messages.pushed import Pushed
from sync_protocol.session.effects import ClientEffect, PreparePush, Retry, Send, Settle
from sync_protocol.session.events import PushReady, QueueChanged, RetryDue
from sync_protocol.session.reactions import REACTIONS, Reaction
from sync_protocol.session.states import LaneState
from sync_protocol.session.table import Table, rows_of, step


class PushLane:
    """Drives pushes for one link; `handle` appends to `effects`."""

    def __init__(self, effects: list[ClientEffect]) -> None:
        self.state = LaneState.IDLE
        self.device = 0
        self.after = 0
        """The last counter sent on this link."""
        self.through = 0
        """The last counter of the push in flight."""
        self.sent_count = 0
        """The mutations of the push in flight."""
        self.unconfirmed = 0
        self.attempt = 0
        self.mutations_max = limits.MUTATIONS_PER_PUSH_MAX
        self.gap_at: int | None = None
        """What the server had when it last told of a gap; the same again means a lost history."""
        self.has_accepted = False
        """Whether something that was sent on this link was answered `accepted` (P3)."""
        self.is_queued = False
        """Whether mutations were queued after the store was last asked."""
        self.effects = effects

    @property
    def is_drained(self) -> bool:
        """Tell whether reading may go first: nothing to send now, or not allowed to send yet."""
        return self.state in {LaneState.IDLE, LaneState.WAITING}

    def start(self, *, device: int) -> None:
        """Begin on a new link with everything that has no final receipt.

        Even what the server says it has: the payload hashes of a repeat are what tells a clone.
        """
        self.device = device
        self.after = 0
        self.gap_at = None
        self.has_accepted = False
        self.mutations_max = limits.MUTATIONS_PER_PUSH_MAX
        self.state = self.prepare()

    def stop(self) -> None:
        """Forget the link; what was in flight will be pushed again and be recognised."""
        self.state = LaneState.IDLE

    def handle(self, event: PushReady | QueueChanged | RetryDue | Pushed | Fault) -> None:
        """Take one event of the lane; raise OutOfTurn when the state does not expect it."""
        self.state = step(LANE_TABLE, self, self.state, event)

    def takes(self, fault: Fault) -> bool:
        """Tell whether the lane deals with a fault by itself."""
        if self.state is not LaneState.SENT:
            return False
        reaction = REACTIONS[fault.fault]
        if reaction is Reaction.RETRY:
            return fault.answers == "push"
        if fault.answers not in {"push", None}:
            return False
        if reaction is Reaction.SHRINK:
            return self.sent_count > 1
        return reaction is Reaction.RESEND and self.gap_at != (fault.merged_through or 0)

    def prepare(self) -> LaneState:
        """Ask the store for the next push."""
        self.is_queued = False
        is_gap = self.gap_at is not None
        self.effects.append(PreparePush(self.device, self.after, self.mutations_max, is_gap))
        return LaneState.PREPARING


def _queue_changed(lane: PushLane, _event: QueueChanged) -> LaneState:
    return lane.prepare()


def _noted(lane: PushLane, _event: QueueChanged) -> LaneState:
    lane.is_queued = True
    return lane.state


def _ready(lane: PushLane, event: PushReady) -> LaneState:
    lane.unconfirmed = event.unconfirmed
    if event.push is None:
        return lane.prepare() if lane.is_queued else LaneState.IDLE
    assert event.push.device == lane.device
    lane.through = event.through
    lane.sent_count = len(event.push.mutations)
    lane.effects.append(Send(event.push))
    return LaneState.SENT


def _pushed(lane: PushLane, event: Pushed) -> LaneState:
    lane.attempt = 0
    lane.gap_at = None
    # What was not sent cannot have been answered: it would not be pushed before the next link.
    answered = min(_answered_through(event) or lane.through, lane.through)
    lane.after = max(lane.after, answered)
    lane.has_accepted |= any(receipt.outcome == "accepted" for receipt in event.receipts)
    lane.effects.append(Settle(event))
    return lane.prepare()


def _answered_through(event: Pushed) -> int:
    """Return the last counter an answer names: a clone's push is answered as far as it repeats."""
    runs = [last for _, last, _ in event.merged]
    return max([*runs, *(receipt.counter for receipt in event.receipts)], default=0)


def _fault(lane: PushLane, event: Fault) -> LaneState:
    reaction = REACTIONS[event.fault]
    if reaction is Reaction.RETRY:
        lane.effects.append(Retry("push", event.retry_after_ms, lane.attempt))
        lane.attempt += 1
        return LaneState.WAITING
    if reaction is Reaction.SHRINK:
        # Of what was sent: half of a larger limit would send the same push again.
        lane.mutations_max = lane.sent_count // 2
    else:
        lane.gap_at = event.merged_through or 0
        lane.after = min(lane.gap_at, lane.through)
    return lane.prepare()


def _retry(lane: PushLane, _event: RetryDue) -> LaneState:
    return lane.prepare()


def _stay(lane: PushLane, _event: object) -> LaneState:
    return lane.state


_IDLE, _PREPARING, _SENT, _WAITING = LaneState

LANE_TABLE: Final[Table] = {
    **rows_of(_IDLE, QueueChanged, _queue_changed, _PREPARING),
    **rows_of(_IDLE, PushReady, _stay),
    **rows_of(_PREPARING, PushReady, _ready, _IDLE, _PREPARING, _SENT),
    **rows_of(_PREPARING, QueueChanged, _noted),
    **rows_of(_SENT, Pushed, _pushed, _PREPARING),
    **rows_of(_SENT, Fault, _fault, _WAITING, _PREPARING),
    **rows_of((_SENT, _WAITING), QueueChanged, _stay),
    **rows_of((_SENT, _WAITING), PushReady, _stay),
    **rows_of(_WAITING, RetryDue, _retry, _PREPARING),
    **rows_of((_IDLE, _PREPARING, _SENT), RetryDue, _stay),
}
