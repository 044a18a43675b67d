"""The client session, event by event."""

from typing import Any, get_args

import msgspec
import pytest

from sync_protocol.errors import MalformedMessage, OutOfTurn
from sync_protocol.faults import FaultKind
from sync_protocol.messages.cursor import Backfill, Cursor
from sync_protocol.messages.fault import Fault
from sync_protocol.messages.hello import Hello
from sync_protocol.messages.page import Checkpoint, Page
from sync_protocol.messages.poke import Poke
from sync_protocol.messages.provisional import Provisional
from sync_protocol.messages.pull import Pull
from sync_protocol.messages.push import Push
from sync_protocol.messages.pushed import Pushed, Receipt
from sync_protocol.messages.repair import Repair
from sync_protocol.messages.repaired import Repaired
from sync_protocol.messages.welcome import Welcome
from sync_protocol.session import effects as do
from sync_protocol.session import events as on
from sync_protocol.session.client import ClientSession
from sync_protocol.session.client_faults import ACCEPTED_WAIT_MS
from sync_protocol.session.reactions import REACTIONS, Reaction
from sync_protocol.session.states import ClientState, LaneState

CURSOR = Cursor("db", 10)
HELLO = Hello(1, "a", 1, "f", "phone", 1, cursor=CURSOR)
WELCOME = Welcome(1, 7, "db", 10, 1, "f", 1, "replay", merged_through=3)
LAST = Page(Cursor("db", 12), more=False, checkpoint=Checkpoint(12, {}))
PUSH = Push(7, 1, 1, [])
DIGESTS = {"c": [bytes(16)] * 16}


def names(effects):
    return [type(effect).__name__ for effect in effects if not isinstance(effect, do.Reached)]


def sent(effects, kind) -> Any:
    (message,) = [
        effect.message
        for effect in effects
        if isinstance(effect, do.Send) and isinstance(effect.message, kind)
    ]
    return message


def receive(session, message) -> list[Any]:
    return session.handle(on.Received(message))


def push_of(count) -> Push:
    return Push(7, 1, 1, [msgspec.Raw(b"\xc0")] * count)


def pushing() -> ClientSession:
    session = ClientSession()
    session.handle(on.Connected(HELLO))
    receive(session, WELCOME)
    return session


def pulling() -> ClientSession:
    session = pushing()
    session.handle(on.PushReady(None))
    return session


def applying() -> ClientSession:
    session = pulling()
    receive(session, LAST)
    return session


def live() -> ClientSession:
    session = applying()
    session.handle(on.RoundApplied(LAST.cursor))
    assert session.state is ClientState.LIVE
    return session


def repairing() -> ClientSession:
    session = live()
    session.handle(on.Mismatched("s", DIGESTS))
    assert session.state is ClientState.REPAIRING
    return session


def fault(kind, answers=None, **fields):
    return Fault(FaultKind(kind), "planted", answers=answers, **fields)


def test_hello_comes_first_and_the_queue_goes_before_the_pull():
    session = ClientSession()
    assert names(session.handle(on.Connected(HELLO))) == ["Send"]
    effects = receive(session, WELCOME)
    assert names(effects) == ["BecomeDevice", "PreparePush"]
    effects = session.handle(on.PushReady(PUSH, through=5))
    assert sent(effects, Push) is PUSH
    assert session.state is ClientState.PUSHING
    effects = receive(session, Pushed(5, 11))
    assert names(effects) == ["Settle", "PreparePush"]
    assert effects[1] == do.PreparePush(7, 5, 5_000)
    pull = sent(session.handle(on.PushReady(None, unconfirmed=4)), Pull)
    assert (pull.cursor, pull.unconfirmed, pull.wait_for) == (CURSOR, 4, 11)


def test_an_answer_to_a_part_of_a_push_is_followed_by_the_rest():
    session = pushing()
    session.handle(on.PushReady(PUSH, through=5))
    effects = receive(session, Pushed(9, 11, merged=[(1, 2, 11)]))
    assert effects[1] == do.PreparePush(7, 2, 5_000), "a clone learns of its identity by the rest"


OF_ANOTHER = Pushed(5, 11, merged=[(1, 5, 11)], database="another")


@pytest.mark.parametrize("is_stale", [False, True])
def test_neither_welcome_nor_cursor_are_of_that_database(is_stale):
    session = ClientSession()
    session.handle(on.Connected(HELLO))
    receive(session, msgspec.structs.replace(WELCOME, database="earlier", stale=is_stale))
    session.handle(on.PushReady(PUSH, through=5))
    with pytest.raises(MalformedMessage):
        receive(session, OF_ANOTHER)


@pytest.mark.parametrize("make", [pushing, pulling, applying, live, repairing])
def test_outcomes_of_another_database_than_the_one_greeted_settle_nothing(make):
    session = make()
    session.handle(on.QueueChanged())
    session.handle(on.PushReady(PUSH, through=5))
    assert session.lane.state is LaneState.SENT
    with pytest.raises(MalformedMessage):
        receive(session, OF_ANOTHER)
    session.handle(on.Disconnected())
    assert session.state is ClientState.OFFLINE
    session.handle(on.Connected(HELLO))
    effects = receive(session, msgspec.structs.replace(WELCOME, database="another"))
    prepare = next(effect for effect in effects if isinstance(effect, do.PreparePush))
    assert prepare.after_counter == 0, "all is sent again"
    session.handle(on.PushReady(PUSH, through=5))
    assert "Settle" in names(receive(session, OF_ANOTHER))


@pytest.mark.parametrize(
    ("welcome", "answer"),
    [
        (WELCOME, msgspec.structs.replace(OF_ANOTHER, database="")),
        (WELCOME, msgspec.structs.replace(OF_ANOTHER, database="db")),
        (
            msgspec.structs.replace(WELCOME, database="earlier", stale=True),
            msgspec.structs.replace(OF_ANOTHER, database="db"),
        ),
    ],
    ids=["unnamed", "the same", "the cursor's, greeted by a node that was behind"],
)
def test_other_outcomes_are_settled(welcome, answer):
    session = ClientSession()
    session.handle(on.Connected(HELLO))
    receive(session, welcome)
    session.handle(on.PushReady(PUSH, through=5))
    assert "Settle" in names(receive(session, answer))


@pytest.mark.parametrize(
    "answer",
    [
        Pushed(9, 11, merged=[(1, 2**53 - 1, 11)]),
        Fault(FaultKind.COUNTER_GAP, "gap", answers="push", merged_through=2**53 - 1),
    ],
)
def test_an_answer_cannot_skip_what_was_not_sent(answer):
    session = pushing()
    session.handle(on.PushReady(PUSH, through=5))
    is_gap = isinstance(answer, Fault)
    assert do.PreparePush(7, 5, 5_000, is_gap) in receive(session, answer)


def test_all_of_the_queue_is_sent_again_even_what_the_server_says_it_has():
    session = ClientSession()
    session.handle(on.Connected(HELLO))
    prepare = receive(session, WELCOME)[1]
    assert (prepare.device, prepare.after_counter) == (7, 0)


@pytest.mark.parametrize("device", [0, 1])
def test_a_phone_is_never_given_a_number_that_no_phone_has(device):
    session = ClientSession()
    session.handle(on.Connected(HELLO))
    with pytest.raises(MalformedMessage):
        receive(session, msgspec.structs.replace(WELCOME, device=device))
    assert session.state is ClientState.GREETING
    session.handle(on.Disconnected())


def test_pages_are_kept_until_the_round_is_whole():
    session = pulling()
    effects = receive(session, Page(Cursor("db", 11), more=True))
    assert names(effects) == ["Send", "KeepPage"]
    assert sent(effects, Pull).cursor == Cursor("db", 11)
    assert session.cursor == CURSOR
    assert names(receive(session, LAST)) == ["ApplyRound"]
    session.handle(on.RoundApplied(LAST.cursor))
    assert (session.state, session.cursor) == (ClientState.LIVE, LAST.cursor)


def test_a_round_goes_on_after_a_broken_link():
    session = pulling()
    receive(session, Page(Cursor("db", 11), more=True))
    session.handle(on.Disconnected())
    session.handle(on.Connected(HELLO))
    receive(session, WELCOME)
    assert sent(session.handle(on.PushReady(None)), Pull).cursor == Cursor("db", 11)


def test_a_page_that_does_not_move_or_has_no_checkpoint_is_malformed():
    with pytest.raises(MalformedMessage):
        receive(pulling(), Page(CURSOR, more=True))
    with pytest.raises(MalformedMessage):
        receive(pulling(), Page(CURSOR, more=False))


def test_pushes_go_on_while_pages_come():
    session = pulling()
    assert names(session.handle(on.QueueChanged())) == ["PreparePush"]
    assert names(session.handle(on.PushReady(PUSH, through=5))) == ["Send"]
    assert names(session.handle(on.QueueChanged())) == []
    assert names(receive(session, Pushed(5, 11))) == ["Settle", "PreparePush"]
    assert session.state is ClientState.PULLING


def test_what_is_queued_while_the_store_looks_is_not_forgotten():
    session = live()
    session.handle(on.QueueChanged())
    assert names(session.handle(on.QueueChanged())) == []
    assert names(session.handle(on.PushReady(None))) == ["PreparePush"]
    assert names(session.handle(on.PushReady(None))) == []


def test_pokes_are_applied_only_where_they_follow():
    session = live()
    assert names(receive(session, Poke(12, 13))) == ["ApplyPoke"]
    assert names(receive(session, Poke(11, 13))) == []
    assert names(receive(session, Poke(13, 14))) == ["ApplyPoke"]
    assert names(receive(session, Poke(11, 15))) == ["ApplyPoke"], "it begins before the cursor"
    assert sent(receive(session, Poke(16, 17)), Pull).cursor.sequence == 15
    assert sent(receive(live(), Poke(12, 13, pull=True)), Pull).wait_for == 13


def test_a_poke_during_a_round_asks_for_another_one_only_if_it_is_newer():
    for sequence, following in ((12, ClientState.LIVE), (13, ClientState.PULLING)):
        session = pulling()
        receive(session, Poke(10, sequence))
        receive(session, LAST)
        session.handle(on.RoundApplied(LAST.cursor))
        assert session.state is following


def test_a_server_that_never_catches_up_is_not_asked_in_a_loop():
    session = pulling()
    receive(session, Poke(10, 99))
    for _ in range(2):
        receive(session, LAST)
        session.handle(on.RoundApplied(LAST.cursor))
    assert session.state is ClientState.LIVE


STALE = Page(CURSOR, more=False, checkpoint=Checkpoint(10, {}), stale=True)


def test_a_node_behind_the_cursor_is_asked_again_after_a_delay():
    session = pulling()
    for attempt in (0, 1, 2, 3, 3):
        assert receive(session, STALE) == [do.Retry("read", None, attempt), do.Reached("waiting")]
        assert (session.cursor, session.is_behind) == (CURSOR, True)
        assert sent(session.handle(on.RetryDue("read")), Pull).cursor == CURSOR
    receive(session, LAST)
    session.handle(on.RoundApplied(LAST.cursor))
    assert (session.state, session.is_behind) == (ClientState.LIVE, False)


def live_in_doubt(*, stale=False, unconfirmed=0, session=None) -> tuple[ClientSession, list[Any]]:
    session = session or ClientSession()
    session.handle(on.Connected(HELLO))
    receive(session, msgspec.structs.replace(WELCOME, stale=stale))
    session.handle(on.PushReady(None, unconfirmed=unconfirmed))
    receive(session, LAST)
    effects = session.handle(on.RoundApplied(LAST.cursor, unconfirmed))
    assert session.state is ClientState.LIVE
    return session, effects


@pytest.mark.parametrize("why", [{"stale": True}, {"unconfirmed": 4}])
def test_a_link_that_leaves_doubts_is_given_up_later_and_later(why):
    session = None
    for attempt, minutes in enumerate((1, 2, 4, 8, 16, 16)):
        session, effects = live_in_doubt(**why, session=session)
        assert effects[0] == do.Retry("greet", minutes * 60_000, attempt)
        assert session.handle(on.PushReady(None, unconfirmed=why.get("unconfirmed", 0))) == []
        given_up = session.handle(on.RetryDue("greet"))
        assert isinstance(given_up[0], do.Reconnect)
        assert given_up[0].after_ms == 0, "another link is asked for at once"
        assert session.state is ClientState.OFFLINE
    session, _ = live_in_doubt(session=session, unconfirmed=4)
    session.lane.unconfirmed = 5
    again = session.handle(on.RetryDue("greet"))
    assert again == [do.Retry("greet", 60_000, 0)], "something was judged: the delay begins anew"
    session.lane.unconfirmed = 0
    assert session.handle(on.RetryDue("greet")) == []


def test_a_link_without_doubts_ends_the_longer_delays():
    session, _ = live_in_doubt(stale=True)
    session.handle(on.RetryDue("greet"))
    session, effects = live_in_doubt(session=session)
    assert names(effects) == []
    session.handle(on.Disconnected())
    _, effects = live_in_doubt(session=session, stale=True)
    assert effects[0] == do.Retry("greet", 60_000, 0)


def test_the_delay_of_an_earlier_link_gives_up_no_other():
    session, _ = live_in_doubt(stale=True)
    session.handle(on.Disconnected())
    live_in_doubt(session=session)
    assert session.handle(on.RetryDue("greet")) == []
    assert session.state is ClientState.LIVE


def test_each_link_is_doubted_by_itself():
    session, _ = live_in_doubt(unconfirmed=4)
    session.handle(on.Disconnected())
    _, effects = live_in_doubt(session=session, unconfirmed=4)
    assert effects[0] == do.Retry("greet", 60_000, 0), "the earlier link's delay may have ended"


def test_no_link_is_given_up_that_leaves_no_doubt_or_is_busy():
    session, effects = live_in_doubt()
    assert names(effects) == []
    session.has_pokes = False
    session.lane.unconfirmed = 4
    assert session.handle(on.PushReady(None)) == [], "the next round begins with a hello anyway"
    session, _ = live_in_doubt(stale=True)
    session.handle(on.PullWanted())
    assert session.handle(on.RetryDue("greet")) == []
    assert session.state is ClientState.PULLING
    receive(session, LAST)
    effects = session.handle(on.RoundApplied(LAST.cursor))
    assert names(effects) == ["Retry"], "and doubted again when it is live"


def test_a_node_behind_a_round_s_cursor_leaves_what_was_kept():
    session = pulling()
    receive(session, Page(Cursor("db", 11), more=True))
    effects = receive(session, msgspec.structs.replace(STALE, cursor=Cursor("db", 11)))
    assert names(effects) == ["Retry"], "a round is not applied half"
    assert sent(session.handle(on.RetryDue("read")), Pull).cursor == Cursor("db", 11)


def test_a_node_that_has_not_got_our_own_write_is_not_asked_in_a_loop():
    session = pushing()
    session.handle(on.PushReady(PUSH, through=5))
    receive(session, Pushed(5, 20))
    assert sent(session.handle(on.PushReady(None)), Pull).wait_for == 20
    receive(session, msgspec.structs.replace(LAST, stale=True))
    effects = session.handle(on.RoundApplied(LAST.cursor))
    assert effects == [do.Retry("read", None, 0), do.Reached("waiting")]
    assert sent(session.handle(on.RetryDue("read")), Pull).wait_for == 20
    further = Page(Cursor("db", 13), more=False, checkpoint=Checkpoint(13, {}), stale=True)
    receive(session, further)
    effects = session.handle(on.RoundApplied(further.cursor))
    assert effects == [do.Retry("read", None, 1), do.Reached("waiting")], "longer each time"
    session.handle(on.RetryDue("read"))
    receive(session, Page(Cursor("db", 20), more=False, checkpoint=Checkpoint(20, {})))
    session.handle(on.RoundApplied(Cursor("db", 20)))
    assert session.state is ClientState.LIVE


def test_a_stale_welcome_keeps_the_cursor():
    session = ClientSession()
    session.handle(on.Connected(HELLO))
    stale = msgspec.structs.replace(WELCOME, resume="current", stale=True, sequence=3)
    assert names(receive(session, stale)) == ["BecomeDevice", "PreparePush"]
    assert (session.cursor, session.is_behind) == (CURSOR, True)


@pytest.mark.parametrize("make", [pushing, pulling, applying, live, repairing])
def test_news_are_taken_wherever_the_cursor_stands(make):
    session = make()
    state = session.state
    assert receive(session, Poke(99, 99, replicated=7, provisional=[])) == [
        do.NoteReplicated(7),
        do.ApplyProvisional([]),
    ]
    assert receive(session, Provisional()) == [do.ApplyProvisional([])]
    assert (session.state, session.latest < 99) == (state, True)


def test_a_poke_of_the_past_still_tells_what_is_replicated():
    assert receive(live(), Poke(11, 12, replicated=9, provisional=[])) == [do.NoteReplicated(9)]


@pytest.mark.parametrize("poke", [Poke(12, 13, merged_through=4), Poke(12, 12, merged_through=4)])
def test_the_outcome_of_what_was_accepted_is_pulled(poke):
    session = live()
    session.handle(on.QueueChanged())
    session.handle(on.PushReady(None, unconfirmed=4))
    assert sent(receive(session, poke), Pull).unconfirmed == 4
    assert session.state is ClientState.PULLING


def test_a_mismatch_costs_one_repair_then_a_report():
    session = applying()
    session.handle(on.Mismatched("s", DIGESTS))
    effects = session.handle(on.RoundApplied(LAST.cursor))
    assert sent(effects, Repair).digests == DIGESTS
    assert names(receive(session, Repaired("s", 12, [], msgspec.Raw(), bytes(16)))) == [
        "ApplyRepair"
    ]
    effects = session.handle(on.RepairApplied("s", is_equal=False))
    assert sent(effects, Pull)
    receive(session, LAST)
    assert names(session.handle(on.Mismatched("s", DIGESTS))) == ["ReportDamage"]
    session.handle(on.RoundApplied(LAST.cursor))
    assert session.state is ClientState.LIVE


def test_each_damaged_space_is_repaired_in_turn():
    session = applying()
    for space in ("a", "b"):
        session.handle(on.Mismatched(space, DIGESTS))
    assert sent(session.handle(on.RoundApplied(LAST.cursor)), Repair).space == "a"
    receive(session, Repaired("a", 12, [], msgspec.Raw(), bytes(16)))
    assert sent(session.handle(on.RepairApplied("a", is_equal=True)), Repair).space == "b"
    with pytest.raises(MalformedMessage):
        receive(session, Repaired("a", 12, [], msgspec.Raw(), bytes(16)))


def test_a_repair_cut_off_is_asked_for_again():
    session = repairing()
    session.handle(on.Disconnected())
    session.handle(on.Connected(HELLO))
    receive(session, WELCOME)
    session.handle(on.PushReady(None))
    receive(session, LAST)
    assert sent(session.handle(on.RoundApplied(LAST.cursor)), Repair).space == "s"


def test_over_plain_http_each_push_is_followed_by_a_pull():
    session = ClientSession(has_pokes=False)
    session.handle(on.Connected(HELLO))
    receive(session, WELCOME)
    session.handle(on.PushReady(None))
    receive(session, LAST)
    session.handle(on.RoundApplied(LAST.cursor))
    session.handle(on.QueueChanged())
    session.handle(on.PushReady(PUSH, through=5))
    receive(session, Pushed(5, 13))
    assert sent(session.handle(on.PushReady(None)), Pull).wait_for == 13


def test_a_reset_forgets_the_cursor_and_nothing_else():
    session = ClientSession()
    session.handle(on.Connected(HELLO))
    effects = receive(session, Welcome(1, 7, "new", 1, 1, "f", 1, "reset"))
    assert names(effects) == ["BecomeDevice", "ResetRead", "PreparePush"]
    assert sent(session.handle(on.PushReady(None)), Pull).cursor is None


def test_no_effect_can_lose_a_mutation():
    effects = {effect.__name__ for effect in get_args(do.ClientEffect)}
    assert effects == {
        "Send",
        "BecomeDevice",
        "BecomeNew",
        "PreparePush",
        "Settle",
        "KeepPage",
        "ApplyRound",
        "ApplyPoke",
        "ApplyProvisional",
        "NoteReplicated",
        "ApplyRepair",
        "ResetRead",
        "ReportDamage",
        "Retry",
        "Reconnect",
        "SignIn",
        "Stop",
        "Reached",
    }


def test_a_message_out_of_turn_raises():
    with pytest.raises(OutOfTurn, match="Page is not expected while the session is live"):
        receive(live(), LAST)


@pytest.mark.parametrize("make", [pushing, pulling, applying, live, repairing])
@pytest.mark.parametrize("answers", [None, "hello", "push", "pull", "repair"])
@pytest.mark.parametrize("kind", list(FaultKind))
def test_every_fault_has_an_answer_everywhere(make, answers, kind):
    session = make()
    effects = receive(session, fault(kind, answers))
    reaction = REACTIONS[kind]
    expected = {
        Reaction.RETRY: {"Retry", "Reconnect"},
        Reaction.SHRINK: {"Stop"},
        Reaction.RESEND: {"BecomeNew"},
        Reaction.GREET: {"Reconnect"},
        Reaction.RENEW: {"BecomeNew"},
        Reaction.RESET_READ: {"ResetRead", "Reconnect"},
        Reaction.PULL: {"Stop"} if session.asked is None else {"Send"},
        Reaction.SIGN_IN: {"SignIn"},
        Reaction.STOP: {"Stop"},
    }[reaction]
    assert expected & set(names(effects)) or (
        reaction is Reaction.PULL and "Stop" in names(effects)
    )


@pytest.mark.parametrize(("kind", "end"), [("cursor-unknown", "Reconnect"), ("not-found", "Stop")])
def test_a_push_fault_never_asks_twice(kind, end):
    session = repairing()
    assert names(receive(session, fault(kind, "push"))) == [end]
    assert session.damaged == {"s": DIGESTS}


def test_nothing_is_pushed_while_a_hello_waits_to_be_repeated():
    session = ClientSession()
    session.handle(on.Connected(HELLO))
    receive(session, fault("overloaded", "hello"))
    assert session.state is ClientState.WAITING
    assert session.handle(on.QueueChanged()) == []
    assert sent(session.handle(on.RetryDue("read")), Hello) == HELLO
    assert do.PreparePush(7, 0, 5_000) in receive(session, WELCOME)


def test_a_push_fault_delays_pushes_alone():
    session = pulling()
    session.handle(on.QueueChanged())
    session.handle(on.PushReady(PUSH, through=5))
    effects = receive(session, fault("rate-limited", "push", retry_after_ms=700))
    assert effects == [do.Retry("push", 700, 0)]
    assert (session.state, session.lane.state) == (ClientState.PULLING, LaneState.WAITING)
    assert names(session.handle(on.RetryDue("push"))) == ["PreparePush"]


def test_a_pull_fault_waits_and_asks_again():
    session = pulling()
    effects = receive(session, fault("overloaded", "pull"))
    assert effects == [do.Retry("read", None, 0), do.Reached("waiting")]
    assert sent(session.handle(on.RetryDue("read")), Pull)
    assert receive(session, fault("overloaded", "pull"))[0].attempt == 1


def test_pushes_shrink_until_one_mutation_is_left():
    session = pushing()
    sizes, size = [], 1_000
    while session.state is not ClientState.STOPPED:
        session.handle(on.PushReady(push_of(size), through=5))
        effects = receive(session, fault("too-large"))
        for prepare in effects:
            if isinstance(prepare, do.PreparePush):
                size = prepare.mutations_max
                sizes.append(size)
    assert sizes == [500, 250, 125, 62, 31, 15, 7, 3, 1]


def test_a_push_that_was_too_large_is_never_sent_again_as_it_was():
    session = pushing()
    session.handle(on.PushReady(push_of(8), through=8))
    (prepare,) = receive(session, fault("too-large", "push"))
    assert prepare.mutations_max == 4


def test_a_gap_is_filled_from_where_the_server_stands_and_only_once():
    session = pushing()
    session.handle(on.PushReady(PUSH, through=5))
    (prepare,) = receive(session, fault("counter-gap", "push", merged_through=2))
    assert prepare.after_counter == 2
    session.handle(on.PushReady(PUSH, through=5))
    lost = receive(session, fault("counter-gap", "push", merged_through=2, database="db"))
    assert do.BecomeNew("db", 2) in lost, "what another database has judged goes along"


def test_a_clone_takes_no_new_identity_before_what_was_accepted_is_judged():
    session = pushing()
    session.handle(on.PushReady(PUSH, through=5))
    receive(session, Pushed(2, 9, receipts=[Receipt(5, "accepted", 0)]))
    session.handle(on.PushReady(PUSH, through=6))
    effects = receive(session, fault("cloned-device", "push"))
    assert effects[0] == do.Reconnect(ACCEPTED_WAIT_MS, 0), "else it would be merged twice"
    assert "BecomeNew" not in names(effects)
    session.handle(on.Connected(HELLO))
    assert do.PreparePush(7, 0, 5_000) in receive(session, WELCOME), "all of it is sent again"
    session.handle(on.PushReady(PUSH, through=5))
    receive(session, Pushed(5, 9, merged=[(5, 5, 9)]))
    session.handle(on.PushReady(PUSH, through=6))
    assert names(receive(session, fault("cloned-device", "push")))[0] == "BecomeNew"


@pytest.mark.parametrize(("asked_ms", "waits_ms"), [(None, ACCEPTED_WAIT_MS), (77, 77)])
def test_a_clone_waits_for_what_was_accepted_as_long_as_the_server_asks(asked_ms, waits_ms):
    session = pushing()
    session.handle(on.PushReady(PUSH, through=5))
    receive(session, Pushed(2, 9, receipts=[Receipt(5, "accepted", 0)]))
    session.handle(on.PushReady(PUSH, through=6))
    effects = receive(session, fault("cloned-device", "push", retry_after_ms=asked_ms))
    assert effects[0] == do.Reconnect(waits_ms, 0)


def test_a_copy_that_takes_another_number_has_lost_no_history():
    session = pushing()
    session.handle(on.PushReady(PUSH, through=5))
    told = fault("cloned-device", "push", merged_through=3, database=WELCOME.database)
    assert receive(session, told)[0] == do.BecomeNew("", 0)


@pytest.mark.parametrize("merged_through", [None, 0])
def test_of_a_device_that_a_server_does_not_know_all_is_lost(merged_through):
    session = pushing()
    told = fault("counter-gap", "push", merged_through=merged_through, database=WELCOME.database)
    for _ in range(2):
        session.handle(on.PushReady(PUSH, through=5))
        effects = receive(session, told)
    assert effects[0] == do.BecomeNew(WELCOME.database, 0)


def test_a_history_that_a_server_has_lost_is_not_waited_for():
    session = pushing()
    session.handle(on.PushReady(PUSH, through=5))
    receive(session, Pushed(2, 9, receipts=[Receipt(5, "accepted", 0)]))
    for _ in range(2):
        session.handle(on.PushReady(PUSH, through=6))
        effects = receive(session, fault("counter-gap", "push", merged_through=5))
    assert names(effects)[0] == "BecomeNew"


def test_reconnects_back_off_until_something_succeeds():
    session = ClientSession()
    for attempt in range(3):
        assert session.handle(on.Disconnected()) == [do.Reconnect(None, attempt)]
    session.handle(on.Connected(HELLO))
    receive(session, WELCOME)
    session.handle(on.PushReady(None))
    receive(session, LAST)
    assert session.handle(on.Disconnected())[0] == do.Reconnect(None, 0)


def test_a_new_session_knows_nothing():
    session = ClientSession()
    assert (session.state, session.lane.state) == (ClientState.OFFLINE, LaneState.IDLE)
    assert (session.hello, session.device, session.cursor, session.reading) == (None, 0, None, None)
    assert (session.sequence, session.latest, session.attempt) == (0, 0, 0)
    assert (session.is_stale, session.is_behind) == (False, False)


def test_a_pull_tells_who_asks_from_where_and_what_it_waits_for():
    session = ClientSession(rows_max=9)
    session.handle(on.Connected(msgspec.structs.replace(HELLO, schema_version=3)))
    receive(session, WELCOME)
    session.handle(on.PushReady(PUSH, through=5))
    receive(session, Pushed(5, 11))
    pull = sent(session.handle(on.PushReady(None, unconfirmed=4)), Pull)
    assert pull == Pull(7, 3, CURSOR, 9, 4, 11)


@pytest.mark.parametrize(("sequence", "wait_for"), [(9, 0), (10, 0), (11, 11)])
def test_nothing_is_waited_for_that_has_been_read(sequence, wait_for):
    session = pushing()
    session.handle(on.PushReady(PUSH, through=5))
    receive(session, Pushed(5, sequence))
    assert sent(session.handle(on.PushReady(None)), Pull).wait_for == wait_for


def test_over_a_stream_our_own_pushes_are_told_by_pokes():
    session = live()
    session.handle(on.QueueChanged())
    session.handle(on.PushReady(PUSH, through=5))
    receive(session, Pushed(5, 13))
    assert session.handle(on.PushReady(None)) == []
    assert session.state is ClientState.LIVE


def test_a_node_behind_that_has_all_that_is_wanted_is_not_waited_for():
    session = pulling()
    receive(session, msgspec.structs.replace(LAST, stale=True))
    session.handle(on.RoundApplied(LAST.cursor))
    assert (session.state, session.is_behind) == (ClientState.LIVE, False)
    session = pushing()
    session.handle(on.PushReady(PUSH, through=5))
    receive(session, Pushed(5, 12))
    session.handle(on.PushReady(None))
    receive(session, msgspec.structs.replace(LAST, stale=True))
    session.handle(on.RoundApplied(LAST.cursor))
    assert session.state is ClientState.LIVE, "it has our own write"


def test_a_space_that_was_repaired_may_be_damaged_again():
    session = repairing()
    receive(session, Repaired("s", 12, [], msgspec.Raw(), bytes(16)))
    session.handle(on.RepairApplied("s", is_equal=True))
    assert session.state is ClientState.LIVE
    assert sent(session.handle(on.Mismatched("s", DIGESTS)), Repair).space == "s"


NEWER = {"c": [b"\1" * 16] * 16}


def test_a_space_whose_repair_was_cut_off_is_repaired_by_its_newest_digests():
    session = repairing()
    session.handle(on.Disconnected())
    assert names(session.handle(on.Mismatched("s", NEWER))) == [], "it has not been repaired yet"
    session.handle(on.Disconnected())
    session.handle(on.Connected(HELLO))
    receive(session, WELCOME)
    session.handle(on.PushReady(None))
    receive(session, LAST)
    assert sent(session.handle(on.RoundApplied(LAST.cursor)), Repair).digests == NEWER


@pytest.mark.parametrize("kind", ["unauthenticated", "forbidden"])
def test_a_repair_that_was_refused_is_asked_for_by_the_next_session(kind):
    session = repairing()
    receive(session, fault(kind, "repair"))
    assert session.state is ClientState.STOPPED
    session.handle(on.Connected(HELLO))
    receive(session, WELCOME)
    session.handle(on.PushReady(None))
    receive(session, LAST)
    assert sent(session.handle(on.RoundApplied(LAST.cursor)), Repair).space == "s"


@pytest.mark.parametrize("end", [on.Disconnected(), on.Received(fault("forbidden"))])
def test_a_push_of_an_ended_link_is_not_in_flight_on_the_next(end):
    session = pushing()
    session.handle(on.PushReady(push_of(5), through=5))
    session.handle(end)
    session.handle(on.Connected(HELLO))
    assert names(receive(session, fault("too-large"))) == ["Stop"]


@pytest.mark.parametrize(
    ("make", "answers"),
    [
        (pulling, None),
        (pulling, "push"),
        (live, "pull"),
        (live, None),
        (pushing, "hello"),
        (applying, "pull"),
    ],
)
def test_trouble_that_answers_nothing_asked_for_costs_the_link(make, answers):
    effects = receive(make(), fault("overloaded", answers, retry_after_ms=9))
    assert effects == [do.Reconnect(9, 0), do.Reached("offline")]


def test_trouble_with_a_read_keeps_the_link_and_backs_off_by_itself():
    session = pulling()
    assert receive(session, fault("overloaded", "pull", retry_after_ms=9))[0] == do.Retry(
        "read", 9, 0
    )


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("unknown-device", [do.Reconnect(9, 0)]),
        ("cloned-device", [do.BecomeNew(), do.Reconnect(9, 0)]),
    ],
)
def test_a_new_hello_waits_as_long_as_the_server_asks(kind, expected):
    effects = receive(pulling(), fault(kind, "pull", retry_after_ms=9))
    assert effects == [*expected, do.Reached("offline")]


def test_a_cursor_refused_at_hello_is_forgotten_and_hello_is_said_again():
    session = ClientSession()
    session.handle(on.Connected(HELLO))
    effects = receive(session, fault("cursor-unknown", "hello"))
    assert effects == [do.ResetRead(), do.Send(msgspec.structs.replace(HELLO, cursor=None))]
    assert session.state is ClientState.GREETING
    again = receive(session, fault("cursor-unknown", "hello"))
    assert again[0] == do.Retry("read", None, 0), "there is nothing left to forget"


def test_a_cursor_refused_in_a_pull_is_forgotten_and_all_is_read():
    session = pulling()
    effects = receive(session, fault("cursor-unknown", "pull"))
    assert names(effects) == ["ResetRead", "Send"]
    assert sent(effects, Pull).cursor is None


def test_a_first_round_whose_cursor_is_refused_begins_anew():
    session = ClientSession()
    session.handle(on.Connected(msgspec.structs.replace(HELLO, cursor=None)))
    receive(session, WELCOME)
    session.handle(on.PushReady(None))
    receive(session, Page(Cursor("db", 5), more=True))
    effects = receive(session, fault("cursor-unknown", "pull"))
    assert names(effects) == ["ResetRead", "Send"]
    assert sent(effects, Pull).cursor is None


def test_a_cursor_that_nobody_asked_with_costs_the_link():
    assert names(receive(live(), fault("cursor-unknown", "pull"))) == ["Reconnect"]


def test_a_space_that_is_gone_is_not_repaired_but_read():
    effects = receive(repairing(), fault("not-found", "repair"))
    assert sent(effects, Pull).cursor == LAST.cursor
    assert names(receive(pulling(), fault("not-found", "pull"))) == ["Stop"]


def reconnected(session, hello=HELLO, welcome=WELCOME) -> list[Any]:
    session.handle(on.Disconnected())
    session.handle(on.Connected(hello))
    return receive(session, welcome)


def test_a_hello_that_met_trouble_is_said_again_on_every_link():
    session = live()
    session.handle(on.Disconnected())
    session.handle(on.Connected(HELLO))
    receive(session, fault("overloaded", "hello"))
    assert session.state is ClientState.WAITING
    assert sent(session.handle(on.RetryDue("read")), Hello) == HELLO


def test_pages_kept_aside_for_another_cursor_are_not_built_upon():
    session = pulling()
    receive(session, Page(Cursor("db", 11), more=True))
    reconnected(session, msgspec.structs.replace(HELLO, cursor=Cursor("db", 5)))
    assert sent(session.handle(on.PushReady(None)), Pull).cursor == Cursor("db", 5)


def test_a_space_is_repaired_anew_on_a_new_link():
    session = repairing()
    receive(session, Repaired("s", 12, [], msgspec.Raw(), bytes(16)))
    session.handle(on.RepairApplied("s", is_equal=False))
    reconnected(session)
    session.handle(on.PushReady(None))
    receive(session, LAST)
    assert names(session.handle(on.Mismatched("s", DIGESTS))) == []
    assert sent(session.handle(on.RoundApplied(LAST.cursor)), Repair)


def test_what_an_earlier_link_has_told_is_not_waited_for():
    session = pulling()
    receive(session, Poke(10, 99))
    reconnected(session, msgspec.structs.replace(HELLO, cursor=None))
    assert session.latest == 0
    assert sent(session.handle(on.PushReady(None)), Pull).wait_for == 0


RESET = msgspec.structs.replace(WELCOME, resume="reset")


def test_a_reset_of_nothing_is_nothing():
    session = ClientSession()
    session.handle(on.Connected(msgspec.structs.replace(HELLO, cursor=None)))
    assert names(receive(session, RESET)) == ["BecomeDevice", "PreparePush"]


def test_a_reset_forgets_the_pages_of_a_first_round():
    first = msgspec.structs.replace(HELLO, cursor=None)
    session = ClientSession()
    session.handle(on.Connected(first))
    receive(session, WELCOME)
    session.handle(on.PushReady(None))
    receive(session, Page(Cursor("db", 5), more=True))
    assert "ResetRead" in names(reconnected(session, first, RESET))
    assert sent(session.handle(on.PushReady(None)), Pull).cursor is None


def test_a_push_or_a_repair_that_succeeds_ends_the_back_off():
    session = ClientSession()
    session.handle(on.Disconnected())
    reconnected(session)
    session.handle(on.PushReady(PUSH, through=5))
    receive(session, Pushed(5, 11))
    assert session.handle(on.Disconnected())[0] == do.Reconnect(None, 0)
    session = repairing()
    receive(session, fault("overloaded", "repair"))
    assert names(session.handle(on.RetryDue("read"))) == ["Send"]
    receive(session, Repaired("s", 12, [], msgspec.Raw(), bytes(16)))
    assert session.handle(on.Disconnected())[0] == do.Reconnect(None, 0)


def test_a_repair_that_met_trouble_is_asked_for_again():
    session = repairing()
    receive(session, fault("overloaded", "repair"))
    assert sent(session.handle(on.RetryDue("read")), Repair).digests == DIGESTS
    assert session.state is ClientState.REPAIRING


def test_a_delay_that_ends_too_late_changes_nothing():
    for session in (live(), applying(), repairing(), pulling()):
        state = session.state
        assert session.handle(on.RetryDue("read")) == []
        assert session.state is state


def over_http() -> ClientSession:
    session = ClientSession(has_pokes=False)
    session.handle(on.Connected(HELLO))
    receive(session, WELCOME)
    session.handle(on.PushReady(None))
    return session


def test_over_plain_http_nothing_is_pulled_that_has_been_read():
    session = over_http()
    receive(session, LAST)
    session.handle(on.RoundApplied(LAST.cursor))
    session.handle(on.QueueChanged())
    assert session.handle(on.PushReady(None)) == []
    session.handle(on.QueueChanged())
    session.handle(on.PushReady(PUSH, through=5))
    receive(session, Pushed(5, 12))
    assert session.handle(on.PushReady(None)) == []


def test_a_round_is_not_begun_twice():
    session = over_http()
    session.handle(on.QueueChanged())
    session.handle(on.PushReady(PUSH, through=5))
    receive(session, Pushed(5, 13))
    assert session.handle(on.PushReady(None)) == []
    assert session.state is ClientState.PULLING


def test_the_next_round_begins_where_the_last_one_has_ended():
    session = pulling()
    receive(session, Page(Cursor("db", 11), more=True))
    receive(session, LAST)
    session.handle(on.RoundApplied(LAST.cursor, unconfirmed=4))
    pull = sent(session.handle(on.PullWanted()), Pull)
    assert (pull.cursor, pull.unconfirmed) == (LAST.cursor, 4)


def test_a_round_that_the_store_finishes_after_the_link_is_gone_counts():
    session = applying()
    session.handle(on.Disconnected())
    assert session.handle(on.RoundApplied(LAST.cursor)) == []
    assert (session.state, session.cursor) == (ClientState.OFFLINE, LAST.cursor)


def test_a_repair_is_answered_once():
    session = repairing()
    answer = Repaired("s", 12, [], msgspec.Raw(), bytes(16))
    receive(session, answer)
    with pytest.raises(MalformedMessage):
        receive(session, answer)


@pytest.mark.parametrize("make", [pulling, applying, repairing])
def test_a_pull_that_is_wanted_meanwhile_follows(make):
    session = make()
    state = session.state
    assert session.handle(on.PullWanted()) == []
    assert session.state is state
    if make is repairing:
        receive(session, Repaired("s", 12, [], msgspec.Raw(), bytes(16)))
        assert sent(session.handle(on.RepairApplied("s", is_equal=True)), Pull)
    elif make is applying:
        assert sent(session.handle(on.RoundApplied(LAST.cursor)), Pull)


@pytest.mark.parametrize("unconfirmed", [1, 4])
def test_all_that_a_poke_has_judged_is_pulled(unconfirmed):
    session = live()
    session.handle(on.QueueChanged())
    session.handle(on.PushReady(None, unconfirmed=unconfirmed))
    assert sent(receive(session, Poke(12, 13, merged_through=4)), Pull)


def test_what_a_poke_has_judged_is_pulled_while_a_push_waits_to_be_repeated():
    session = live()
    session.handle(on.QueueChanged())
    session.handle(on.PushReady(PUSH, through=9, unconfirmed=4))
    receive(session, fault("overloaded", "push", retry_after_ms=9))
    assert sent(receive(session, Poke(12, 13, merged_through=4)), Pull)


@pytest.mark.parametrize(("unconfirmed", "left"), [(3, 0), (4, 0), (5, 5)])
def test_while_a_push_is_in_flight_pokes_are_applied(unconfirmed, left):
    session = live()
    session.handle(on.QueueChanged())
    session.handle(on.PushReady(PUSH, through=9, unconfirmed=unconfirmed))
    assert names(receive(session, Poke(12, 13, merged_through=4))) == ["ApplyPoke"]
    assert session.lane.unconfirmed == left


def test_news_without_a_set_leave_the_set_as_it_is():
    assert receive(live(), Poke(99, 99, replicated=7)) == [do.NoteReplicated(7)]
    assert receive(live(), Poke(99, 99, provisional=[])) == [do.ApplyProvisional([])]


def test_reading_goes_on_while_a_push_waits():
    session = pushing()
    session.handle(on.PushReady(PUSH, through=5))
    effects = receive(session, fault("rate-limited", "push"))
    assert names(effects) == ["Retry", "Send"]
    assert session.state is ClientState.PULLING


@pytest.mark.parametrize("cursor", [None, Cursor("former", 40)])
def test_a_page_of_another_database_than_the_one_greeted_is_not_taken(cursor):
    """The node has heard of it from the primary, and holds an earlier one yet (S7)."""
    session = ClientSession()
    session.handle(on.Connected(msgspec.structs.replace(HELLO, cursor=cursor)))
    receive(session, WELCOME)
    session.handle(on.PushReady(None))
    with pytest.raises(MalformedMessage, match="another database"):
        receive(session, Page(Cursor("former", 41), more=False, checkpoint=Checkpoint(41, {})))
    assert session.cursor == cursor


def test_a_page_of_the_database_that_goes_on_from_the_one_greeted_is_taken():
    session = pulling()
    assert receive(session, Page(Cursor("next", 11), more=True))
    last = Page(Cursor("next", 12), more=False, checkpoint=Checkpoint(12, {}))
    assert names(receive(session, last)) == ["ApplyRound"]
    session.handle(on.RoundApplied(last.cursor))
    assert session.state is ClientState.LIVE
    session.handle(on.QueueChanged())
    session.handle(on.PushReady(PUSH, through=5))
    accepted = Pushed(5, 11, receipts=[Receipt(5, "accepted", 0)])
    assert names(receive(session, accepted))[0] == "Settle", "an edge accepts in no one's name"
    session.handle(on.PushReady(PUSH, through=6))
    with pytest.raises(MalformedMessage, match="another database"):
        receive(session, Pushed(6, 11, merged=[(6, 6, 11)], database=WELCOME.database))


def test_a_stale_welcome_lets_pages_of_the_database_that_was_read_count():
    session = ClientSession()
    session.handle(on.Connected(HELLO))
    receive(session, msgspec.structs.replace(WELCOME, database="former", stale=True))
    session.handle(on.PushReady(None))
    assert names(receive(session, LAST)) == ["ApplyRound"]


@pytest.mark.parametrize("more", [False, True])
@pytest.mark.parametrize("cursor", [CURSOR, None])
def test_once_another_database_is_read_the_one_read_before_counts_no_more(cursor, more):
    """A push of a roaming phone may still reach the primary that was replaced."""
    session = ClientSession()
    session.handle(on.Connected(msgspec.structs.replace(HELLO, cursor=cursor)))
    receive(session, msgspec.structs.replace(WELCOME, database="next", stale=True))
    session.handle(on.PushReady(None))
    checkpoint = None if more else Checkpoint(3, {})
    receive(session, Page(Cursor("next", 3), more=more, checkpoint=checkpoint, reset=True))
    session.handle(on.QueueChanged())
    session.handle(on.PushReady(PUSH, through=5))
    with pytest.raises(MalformedMessage, match="another database"):
        receive(session, Pushed(5, 11, merged=[(5, 5, 11)], database=CURSOR.database))
    taken = receive(session, Pushed(5, 3, merged=[(5, 5, 3)], database="next"))
    assert names(taken)[0] == "Settle"


def test_a_node_that_is_behind_greets_who_has_read_nothing():
    session = ClientSession()
    session.handle(on.Connected(msgspec.structs.replace(HELLO, cursor=None)))
    effects = receive(session, msgspec.structs.replace(WELCOME, stale=True))
    assert names(effects) == ["BecomeDevice", "PreparePush"]


def test_a_primary_that_was_replaced_greets_nobody_who_knows_it():
    """S8: by its word what the next one has judged would be sent again, and merged twice."""
    session = ClientSession()
    session.handle(on.Connected(HELLO, frozenset({"former"})))
    former = msgspec.structs.replace(WELCOME, database="former", merged_through=1)
    with pytest.raises(MalformedMessage, match="was replaced"):
        receive(session, former)
    assert (session.device, session.state) == (0, ClientState.GREETING)
    effects = receive(session, msgspec.structs.replace(former, stale=True))
    assert names(effects) == ["BecomeDevice", "PreparePush"], "a node that is behind knows better"


@pytest.mark.parametrize(
    ("numbered", "changes", "is_greeted"),
    [
        (("restored", 9), {"stale": True}, False),
        (("restored", 9), {}, True),
        (("restored", 7), {"stale": True}, True),
        (("restored", 0), {"stale": True}, True),
        (("db", 9), {"stale": True}, True),
    ],
)
def test_a_node_behind_gives_nobody_an_earlier_number_back(numbered, changes, is_greeted):
    """A restored database has numbered the device anew (S8), and has merged what waited."""
    session = ClientSession()
    session.handle(on.Connected(HELLO, numbered=numbered))
    welcome = msgspec.structs.replace(WELCOME, **changes)
    if is_greeted:
        assert names(receive(session, welcome))[0] == "BecomeDevice"
        return
    with pytest.raises(MalformedMessage, match="another number"):
        receive(session, welcome)
    assert (session.device, session.state) == (0, ClientState.GREETING)


@pytest.mark.parametrize("kind", ["cloned-device", "counter-gap"])
def test_what_a_replaced_primary_says_of_a_device_changes_nothing(kind):
    """A node that is behind has greeted by its database (S8)."""
    session = ClientSession()
    session.handle(on.Connected(HELLO, frozenset({"former"})))
    receive(session, msgspec.structs.replace(WELCOME, database="former", stale=True))
    session.handle(on.PushReady(PUSH, through=5))
    told = fault(kind, "push", merged_through=2, database="former", retry_after_ms=1_234)
    assert receive(session, told) == [do.Reconnect(1_234, 0), do.Reached("offline")]


@pytest.mark.parametrize(
    "told",
    [fault("cloned-device", "push"), fault("counter-gap", "push", merged_through=2)],
    ids=lambda told: told.fault.value,
)
def test_what_another_database_says_of_this_device_changes_nothing(told):
    """A roaming phone's push has reached a primary that was replaced (S7)."""
    session = pushing()
    session.handle(on.PushReady(PUSH, through=5))
    other = msgspec.structs.replace(told, database="former")
    for _ in range(2):
        assert names(receive(session, other)) == ["Reconnect"]
        assert session.state is ClientState.OFFLINE
        session.handle(on.Connected(HELLO))
        receive(session, WELCOME)
        session.handle(on.PushReady(PUSH, through=5))
    own = receive(session, msgspec.structs.replace(told, database=WELCOME.database))
    assert names(own) == (
        ["BecomeNew", "Reconnect"] if told.merged_through is None else ["PreparePush"]
    )


FLOOR = Cursor("db", 10)
UNREAD = msgspec.structs.replace(HELLO, cursor=None)


def reading_again(**welcome) -> ClientSession:
    """A phone whose rows went up to 10 reads them from zero, by what a node behind has."""
    session = ClientSession()
    session.handle(on.Connected(UNREAD, floor=FLOOR))
    receive(session, msgspec.structs.replace(WELCOME, resume="reset", **{"stale": True, **welcome}))
    session.handle(on.PushReady(None))
    return session


def last_of(database, sequence) -> Page:
    return msgspec.structs.replace(LAST, cursor=Cursor(database, sequence), reset=True)


@pytest.mark.parametrize(
    ("cursor", "is_waited_for"),
    [
        (Cursor("db", 9), True),
        (Cursor("db", 10), False),
        (Cursor("db", 11), False),
    ],
)
def test_rows_are_not_read_again_of_less_than_was_read_before(cursor, is_waited_for):
    """S9: the phone keeps none of what it has seen merged in them."""
    session = reading_again()
    effects = receive(session, last_of(cursor.database, cursor.sequence))
    if not is_waited_for:
        assert names(effects)[0] == "ApplyRound"
        return
    assert names(effects) == ["Retry"]
    assert (session.state, session.is_behind) == (ClientState.WAITING, True)
    session.handle(on.RetryDue("read"))
    assert names(receive(session, last_of("db", 12)))[0] == "ApplyRound"
    session.handle(on.RoundApplied(Cursor("db", 12), 0))
    assert session.floor is None


@pytest.mark.parametrize(("until", "is_waited_for"), [(9, True), (10, False)])
def test_the_first_page_of_a_backfill_tells_how_far_it_will_read(until, is_waited_for):
    session = reading_again()
    first = Page(Cursor("db", 0, Backfill(until, 4)), more=True, reset=True)
    expected = ["Retry"] if is_waited_for else ["Send", "KeepPage"]
    assert names(receive(session, first)) == expected


def test_pages_kept_aside_are_dropped_when_their_last_one_reads_less_than_before():
    session = reading_again()
    receive(session, Page(Cursor("db", 5), more=True, reset=True))
    assert session.reading == Cursor("db", 5)
    effects = receive(session, last_of("db", 9))
    assert names(effects) == ["ResetRead", "Retry"]
    assert (session.reading, session.floor) == (None, FLOOR)


def test_another_database_has_other_sequences():
    session = reading_again(database="next")
    assert names(receive(session, last_of("next", 3)))[0] == "ApplyRound"


@pytest.mark.parametrize(
    ("welcome", "is_kept"),
    [
        ({"sequence": 9}, False),
        ({"sequence": 10}, True),
        ({"sequence": 9, "stale": True}, True),
        ({"sequence": 9, "database": "next"}, True),
    ],
)
def test_a_primary_that_has_less_itself_is_not_waited_for(welcome, is_kept):
    session = reading_again(**{"stale": False, **welcome})
    assert session.floor == (FLOOR if is_kept else None)


def test_a_reset_on_the_way_remembers_how_far_rows_went():
    session = ClientSession()
    session.handle(on.Connected(HELLO))
    receive(session, msgspec.structs.replace(WELCOME, resume="reset", sequence=10))
    assert (session.cursor, session.floor) == (None, CURSOR)
    session.forget_cursor()
    assert session.floor == CURSOR, "there is nothing newer"
    session.handle(on.Disconnected())
    session.handle(on.Connected(HELLO))
    assert session.floor is None, "what the store says counts"
