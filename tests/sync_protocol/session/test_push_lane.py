"""The client's pushes, event by event (P1, P2)."""

from typing import Any

import msgspec
import pytest

from sync_protocol import limits
from sync_protocol.errors import OutOfTurn
from sync_protocol.faults import FaultKind
from sync_protocol.messages.fault import Fault
from sync_protocol.messages.push import Push
from sync_protocol.messages.pushed import Pushed, Receipt
from sync_protocol.session.effects import PreparePush, Retry, Send, Settle
from sync_protocol.session.events import PushReady, QueueChanged, RetryDue
from sync_protocol.session.push_lane import PushLane
from sync_protocol.session.states import LaneState

PUSH = Push(7, 1, 1, [msgspec.Raw(b"\xc0")] * 8)
ALL = limits.MUTATIONS_PER_PUSH_MAX


def fed(lane, event) -> list[Any]:
    lane.effects.clear()
    lane.handle(event)
    return list(lane.effects)


def started() -> PushLane:
    lane = PushLane([])
    lane.start(device=7)
    return lane


def in_flight(through=5) -> PushLane:
    lane = started()
    assert fed(lane, PushReady(PUSH, through=through)) == [Send(PUSH)]
    return lane


def fault(kind, **fields):
    return Fault(FaultKind(kind), "planted", **fields)


def test_a_lane_begins_idle_and_knows_nothing():
    lane = PushLane([])
    assert (lane.state, lane.is_drained, lane.is_queued) == (LaneState.IDLE, True, False)
    assert (lane.device, lane.after, lane.through, lane.unconfirmed, lane.attempt) == (0,) * 5
    assert (lane.mutations_max, lane.gap_at) == (ALL, None)


def test_a_link_begins_with_all_of_the_queue():
    lane = in_flight()
    fed(lane, Pushed(5, 11))
    assert lane.after == 5
    fed(lane, PushReady(PUSH, through=9))
    fed(lane, fault("too-large"))
    lane.gap_at = 5
    lane.stop()
    assert lane.state is LaneState.IDLE
    lane.effects.clear()
    lane.start(device=8)
    assert lane.effects == [PreparePush(8, 0, ALL)]
    assert lane.gap_at is None


def test_one_push_is_unanswered_at_most():
    """P1."""
    lane = in_flight()
    assert not lane.is_drained
    assert fed(lane, QueueChanged()) == []
    assert fed(lane, PushReady(PUSH, through=9)) == [], "an answer to an earlier link's question"
    assert fed(lane, RetryDue("push")) == []
    assert lane.state is LaneState.SENT


def test_an_answer_nobody_waits_for_is_out_of_turn():
    with pytest.raises(OutOfTurn):
        started().handle(Pushed(5, 11))


@pytest.mark.parametrize(
    ("answer", "after"),
    [
        (Pushed(9, 11), 5),
        (Pushed(9, 11, merged=[(1, 2, 11)]), 2),
        (Pushed(9, 11, merged=[(1, 2, 11), (3, 3, 11)]), 3),
        (Pushed(9, 11, merged=[(1, 2, 11)], receipts=[Receipt(3, "rejected", 0)]), 3),
        (Pushed(9, 11, receipts=[Receipt(4, "rejected", 0), Receipt(3, "rejected", 0)]), 4),
    ],
)
def test_the_next_push_follows_the_last_counter_that_was_answered(answer, after):
    assert fed(in_flight(), answer) == [Settle(answer), PreparePush(7, after, ALL)]


def test_an_answer_about_less_than_was_sent_before_leads_nowhere_back():
    lane = in_flight()
    fed(lane, Pushed(5, 11))
    fed(lane, PushReady(PUSH, through=9))
    answer = Pushed(9, 11, merged=[(1, 2, 11)])
    assert fed(lane, answer)[1] == PreparePush(7, 5, ALL)


def test_trouble_is_waited_out_longer_each_time_until_a_push_succeeds():
    lane = in_flight()
    for attempt in range(3):
        limited = fault("rate-limited", answers="push", retry_after_ms=9)
        assert lane.takes(limited)
        assert fed(lane, limited) == [Retry("push", 9, attempt)]
        assert (lane.state, lane.is_drained) == (LaneState.WAITING, True)
        assert fed(lane, QueueChanged()) == fed(lane, PushReady(PUSH, through=9)) == []
        assert fed(lane, RetryDue("push")) == [PreparePush(7, 0, ALL)]
        fed(lane, PushReady(PUSH, through=5))
    fed(lane, Pushed(5, 11))
    assert lane.attempt == 0


@pytest.mark.parametrize(("merged_through", "after"), [(None, 0), (0, 0), (2, 2)])
def test_a_gap_is_filled_once(merged_through, after):
    lane = in_flight()
    gap = fault("counter-gap", answers="push", merged_through=merged_through)
    assert lane.takes(gap)
    assert fed(lane, gap) == [PreparePush(7, after, ALL, is_gap=True)]
    fed(lane, PushReady(PUSH, through=5))
    assert not lane.takes(gap), "the same gap again means a lost history"
    assert lane.takes(fault("counter-gap", answers="push", merged_through=1))


def test_a_gap_that_was_filled_may_open_again():
    lane = in_flight()
    gap = fault("counter-gap", answers="push", merged_through=2)
    fed(lane, gap)
    fed(lane, PushReady(PUSH, through=5))
    fed(lane, Pushed(5, 11))
    fed(lane, PushReady(PUSH, through=9))
    assert lane.takes(gap)


@pytest.mark.parametrize(
    ("kind", "answers", "is_taken"),
    [
        ("rate-limited", "push", True),
        ("rate-limited", None, False),
        ("rate-limited", "pull", False),
        ("too-large", "push", True),
        ("too-large", None, True),
        ("too-large", "pull", False),
        ("counter-gap", "push", True),
        ("counter-gap", None, True),
        ("counter-gap", "pull", False),
        ("forbidden", "push", False),
    ],
)
def test_a_lane_takes_the_faults_of_its_push_alone(kind, answers, is_taken):
    assert in_flight().takes(fault(kind, answers=answers)) is is_taken
    assert not started().takes(fault(kind, answers=answers)), "nothing is in flight"


def test_a_push_is_halved_until_one_mutation_is_left():
    lane = in_flight()
    sizes = []
    while lane.takes(fault("too-large")):
        (prepare,) = fed(lane, fault("too-large"))
        sizes.append(prepare.mutations_max)
        fed(lane, PushReady(Push(7, 1, 1, PUSH.mutations[: sizes[-1]]), through=5))
    assert sizes == [4, 2, 1], "half of what was sent"


def test_what_is_queued_while_the_store_looks_is_asked_for_again():
    lane = started()
    assert fed(lane, QueueChanged()) == []
    assert fed(lane, PushReady(None, unconfirmed=3)) == [PreparePush(7, 0, ALL)]
    assert lane.unconfirmed == 3
    assert fed(lane, PushReady(None)) == []
    assert (lane.state, lane.unconfirmed) == (LaneState.IDLE, 0)
    assert fed(lane, PushReady(PUSH)) == fed(lane, RetryDue("push")) == []
    assert fed(lane, QueueChanged()) == [PreparePush(7, 0, ALL)]
