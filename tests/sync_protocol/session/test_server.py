"""The server session: hello first, one of each at a time, no poke before a checkpoint."""

import msgspec
import pytest

from sync_protocol.errors import OutOfTurn
from sync_protocol.faults import FaultKind
from sync_protocol.messages.cursor import Cursor
from sync_protocol.messages.fault import Fault
from sync_protocol.messages.hello import Hello
from sync_protocol.messages.page import Checkpoint, Page
from sync_protocol.messages.poke import Poke
from sync_protocol.messages.provisional import Provisional, ProvisionalMutation
from sync_protocol.messages.pull import Pull
from sync_protocol.messages.push import Push
from sync_protocol.messages.pushed import Pushed
from sync_protocol.messages.repair import Repair
from sync_protocol.messages.welcome import Welcome
from sync_protocol.session import effects as do
from sync_protocol.session import events as on
from sync_protocol.session.server import ServerSession
from sync_protocol.session.states import ServerState

HELLO = Hello(1, "a", 1, "f", "phone", 1)
WELCOME = Welcome(1, 7, "db", 10, 1, "f", 1, "replay")
PAGE = Page(Cursor("db", 12), more=False, checkpoint=Checkpoint(12, {}))
PUSH, PULL, REPAIR = Push(7, 1, 1, []), Pull(7, 1), Repair(7, 1, "s", {})


def opened() -> ServerSession:
    session = ServerSession()
    session.handle(on.Received(HELLO))
    session.handle(on.Answered("hello", WELCOME))
    return session


def subscribed() -> ServerSession:
    session = opened()
    session.handle(on.Received(PULL))
    session.handle(on.Answered("pull", PAGE))
    assert session.state is ServerState.SUBSCRIBED
    return session


def is_out_of_turn(effects) -> bool:
    match effects:
        case [do.Send(Fault() as fault), do.Close(), do.Reached("closed")]:
            return fault.fault is FaultKind.OUT_OF_TURN
    return False


@pytest.mark.parametrize("message", [PUSH, PULL, REPAIR])
def test_nothing_comes_before_hello(message):
    assert is_out_of_turn(ServerSession().handle(on.Received(message)))


def test_nothing_comes_before_welcome_and_hello_comes_once():
    session = ServerSession()
    session.handle(on.Received(HELLO))
    assert is_out_of_turn(session.handle(on.Received(PUSH)))
    assert is_out_of_turn(opened().handle(on.Received(HELLO)))


@pytest.mark.parametrize("message", [Push(8, 1, 1, []), Pull(8, 1), Repair(8, 1, "s", {})])
def test_the_device_is_fixed_for_the_stream(message):
    assert is_out_of_turn(opened().handle(on.Received(message)))


def test_one_push_and_one_read_at_a_time():
    session = opened()
    assert session.handle(on.Received(PUSH)) == [do.Serve(PUSH)]
    assert session.handle(on.Received(PULL)) == [do.Serve(PULL)]
    session.handle(on.Answered("push", Pushed(1, 11)))
    assert session.handle(on.Received(PUSH)) == [do.Serve(PUSH)]
    assert is_out_of_turn(session.handle(on.Received(REPAIR)))
    session = opened()
    session.handle(on.Received(PUSH))
    assert is_out_of_turn(session.handle(on.Received(PUSH)))


def test_pokes_begin_after_a_checkpoint_and_cover_what_came_while_reading():
    session = opened()
    session.handle(on.Received(PULL))
    assert session.handle(on.Changed(Poke(11, 12))) == []
    assert session.handle(on.Changed(Poke(12, 14))) == []
    effects = session.handle(on.Answered("pull", PAGE))
    assert effects[:2] == [do.Send(PAGE), do.Send(Poke(12, 14, pull=True))]
    assert session.handle(on.Changed(Poke(13, 14))) == []
    assert session.handle(on.Changed(Poke(14, 15))) == [do.Send(Poke(14, 15))]


SET = Provisional([ProvisionalMutation(3, 8, 1, [])])


def test_provisional_sets_begin_after_a_checkpoint_and_follow_a_page_they_are_newer_than():
    session = opened()
    assert session.handle(on.ProvisionalChanged(SET)) == [], "the first page carries it"
    session.handle(on.Received(PULL))
    assert session.handle(on.ProvisionalChanged(SET)) == []
    assert session.handle(on.Answered("pull", PAGE))[:2] == [do.Send(PAGE), do.Send(SET)]
    assert session.handle(on.ProvisionalChanged(SET)) == [do.Send(SET)]
    session.handle(on.Received(PULL))
    assert session.handle(on.ProvisionalChanged(SET)) == [do.Send(SET)]
    assert session.handle(on.Answered("pull", PAGE)) == [do.Send(PAGE), do.Send(SET)]
    session.handle(on.Received(PULL))
    assert session.handle(on.Answered("pull", PAGE)) == [do.Send(PAGE)]


def test_what_is_replicated_is_told_whatever_the_page_has_told_already():
    session = subscribed()
    assert session.handle(on.Changed(Poke(11, 11, replicated=9))) == [
        do.Send(Poke(12, 12, replicated=9))
    ]
    assert session.handle(on.Changed(Poke(11, 12, replicated=9))) == []
    old = Poke(11, 12, replicated=10, provisional=[])
    assert session.handle(on.Changed(old)) == [do.Send(Poke(12, 12, replicated=10, provisional=[]))]
    assert session.handle(on.Changed(Poke(99, 99, replicated=11))) == [
        do.Send(Poke(12, 12, replicated=11))
    ]
    assert session.handle(on.Changed(Poke(12, 14))) == [do.Send(Poke(12, 14))], "not told by news"


def test_what_became_replicated_while_a_page_was_read_is_told_behind_it():
    session = opened()
    session.handle(on.Received(PULL))
    session.handle(on.Changed(Poke(99, 99, replicated=11)))
    assert session.handle(on.Answered("pull", PAGE))[:2] == [
        do.Send(PAGE),
        do.Send(Poke(12, 12, replicated=11)),
    ]


def test_a_page_with_more_behind_it_does_not_subscribe():
    session = opened()
    session.handle(on.Received(PULL))
    session.handle(on.Answered("pull", Page(Cursor("db", 11), more=True)))
    assert session.state is ServerState.OPEN
    assert session.handle(on.Changed(Poke(11, 12))) == []


def test_faults_name_what_they_answer_and_some_end_the_stream():
    session = subscribed()
    session.handle(on.Received(PUSH))
    session.handle(on.Received(PULL))
    limited = Fault(FaultKind.RATE_LIMITED, "slow down", 9)
    assert session.handle(on.Answered("push", limited)) == [
        do.Send(Fault(FaultKind.RATE_LIMITED, "slow down", 9, "push"))
    ]
    effects = session.handle(on.Answered("pull", Fault(FaultKind.FORBIDDEN, "no")))
    assert effects[1:] == [do.Close(), do.Reached("closed")]
    assert session.handle(on.Changed(Poke(20, 21))) == []


def test_a_refused_hello_may_be_said_again():
    session = ServerSession()
    session.handle(on.Received(HELLO))
    session.handle(on.Answered("hello", Fault(FaultKind.OVERLOADED, "later", 9)))
    assert session.handle(on.Received(HELLO))[0] == do.Serve(HELLO)


def test_a_stream_can_be_ended_from_inside():
    fault = Fault(FaultKind.UNAUTHENTICATED, "revoked")
    assert subscribed().handle(on.Expelled(fault))[:2] == [do.Send(fault), do.Close()]


def test_the_shells_own_mistakes_raise():
    with pytest.raises(OutOfTurn):
        ServerSession().handle(on.Answered("pull", PAGE))
    with pytest.raises(AssertionError):
        opened().handle(on.Answered("pull", PAGE))


def test_a_new_session_knows_nothing():
    session = ServerSession()
    assert (session.state, session.device) == (ServerState.EXPECTING_HELLO, 0)
    assert (session.told, session.changed, session.replicated) == (0, 0, 0)
    assert (session.serving, session.provisional, session.effects) == (set(), None, [])


def test_a_pull_and_a_repair_are_never_served_together():
    session = opened()
    session.handle(on.Received(REPAIR))
    assert is_out_of_turn(session.handle(on.Received(PULL)))
    session = opened()
    session.handle(on.Received(REPAIR))
    assert is_out_of_turn(session.handle(on.Received(REPAIR)))


def test_a_first_page_that_has_all_changes_is_followed_by_no_poke():
    session = opened()
    session.handle(on.Received(PULL))
    session.handle(on.Changed(Poke(11, 12)))
    assert session.handle(on.Answered("pull", PAGE)) == [do.Send(PAGE), do.Reached("subscribed")]


def test_what_a_page_told_as_replicated_is_not_told_again():
    session = opened()
    session.handle(on.Received(PULL))
    page = Page(Cursor("db", 12), more=False, checkpoint=Checkpoint(12, {}), replicated=9)
    session.handle(on.Answered("pull", page))
    assert session.handle(on.Changed(Poke(12, 12, replicated=9))) == []
    assert session.handle(on.Changed(Poke(12, 12, replicated=10))) == [
        do.Send(Poke(12, 12, replicated=10))
    ]
    session.handle(on.Received(PULL))
    session.handle(on.Answered("pull", page))
    assert session.handle(on.Changed(Poke(12, 12, replicated=10))) == [], "it never goes back"


def test_a_change_is_told_once():
    session = subscribed()
    assert session.handle(on.Changed(Poke(12, 14))) == [do.Send(Poke(12, 14))]
    assert session.handle(on.Changed(Poke(12, 14))) == []


@pytest.mark.parametrize(
    "poke",
    [
        Poke(11, 12, provisional=[]),
        Poke(12, 12, provisional=[]),
        Poke(12, 12, merged_through=3),
        Poke(12, 12, replicated=3),
    ],
)
def test_news_are_told_without_rows(poke):
    told = msgspec.structs.replace(poke, since=12, sequence=12)
    assert subscribed().handle(on.Changed(poke)) == [do.Send(told)]


@pytest.mark.parametrize("poke", [Poke(12, 12), Poke(11, 12, merged_through=3), Poke(11, 12)])
def test_what_tells_nothing_new_is_not_told(poke):
    assert subscribed().handle(on.Changed(poke)) == []


def test_old_rows_do_not_travel_with_news():
    rows = msgspec.Raw(b"\x80")
    old = Poke(10, 11, pull=True, spaces=[rows], digests={"s": bytes(16)}, replicated=3)
    assert subscribed().handle(on.Changed(old)) == [do.Send(Poke(12, 12, replicated=3))]


def test_a_set_in_a_poke_is_told_again_behind_a_page_that_was_read_meanwhile():
    """V3."""
    provisional = SET.mutations
    session = subscribed()
    session.handle(on.Changed(Poke(12, 12, provisional=provisional)))
    session.handle(on.Received(PULL))
    assert session.handle(on.Answered("pull", PAGE)) == [do.Send(PAGE)], "it was told before"
    session.handle(on.Received(PULL))
    session.handle(on.Changed(Poke(12, 12, provisional=provisional)))
    assert session.handle(on.Answered("pull", PAGE)) == [do.Send(PAGE), do.Send(SET)]


def test_a_set_in_an_early_poke_is_told_behind_the_first_page():
    session = opened()
    session.handle(on.Received(PULL))
    session.handle(on.Changed(Poke(12, 12)))
    session.handle(on.Changed(Poke(12, 12, provisional=SET.mutations)))
    assert session.handle(on.Answered("pull", PAGE))[:2] == [do.Send(PAGE), do.Send(SET)]


@pytest.mark.parametrize("make", [ServerSession, opened, subscribed])
def test_a_stream_that_is_gone_is_closed(make):
    session = make()
    assert session.handle(on.Disconnected()) == [do.Reached("closed")]
    assert session.handle(on.Received(PULL)) == []
