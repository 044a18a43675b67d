"""Every pair of a state and an event is in its table, or is out of turn."""

from typing import get_args

import pytest

from sync_protocol.errors import OutOfTurn
from sync_protocol.messages.fault import Fault
from sync_protocol.messages.pushed import Pushed
from sync_protocol.messages.union import ClientMessage, ServerMessage
from sync_protocol.session import events as on
from sync_protocol.session.client import ClientSession
from sync_protocol.session.client_table import CLIENT_TABLE
from sync_protocol.session.diagram import diagram
from sync_protocol.session.push_lane import LANE_TABLE, PushLane
from sync_protocol.session.server import SERVER_TABLE, ServerSession
from sync_protocol.session.states import ClientState, LaneState, ServerState
from sync_protocol.session.table import Row, rows_of, step
from tests.sync_protocol.samples import CLIENT_SAMPLES, SERVER_SAMPLES

SAMPLES = {type(each): each for each in (*CLIENT_SAMPLES.values(), *SERVER_SAMPLES.values())}
CLIENT_EVENTS = {*get_args(on.ClientEvent), *get_args(ServerMessage)} - {on.Received}
SERVER_EVENTS = {*get_args(on.ServerEvent), *get_args(ClientMessage)} - {on.Received}
LANE_EVENTS = {on.PushReady, on.QueueChanged, on.RetryDue, Pushed, Fault}
MACHINES = [
    (CLIENT_TABLE, ClientState, CLIENT_EVENTS, ClientSession),
    (SERVER_TABLE, ServerState, SERVER_EVENTS, ServerSession),
    (LANE_TABLE, LaneState, LANE_EVENTS, lambda: PushLane([])),
]
PAIRS = [
    pytest.param(table, state, event, machine, id=f"{state}-{event.__name__}")
    for table, states, events, machine in MACHINES
    for state in states
    for event in sorted(events, key=lambda each: each.__name__)
]


@pytest.mark.parametrize(("table", "state", "event", "machine"), PAIRS)
def test_a_pair_is_in_the_table_or_out_of_turn(table, state, event, machine):
    if row := table.get((state, event)):
        assert row.targets
        assert all(type(target) is type(state) for target in row.targets)
    else:
        with pytest.raises(OutOfTurn) as caught:
            step(table, machine(), state, SAMPLES.get(event) or object.__new__(event))
        assert (caught.value.state, caught.value.event) == (state, event.__name__)


@pytest.mark.parametrize(("table", "states", "events", "machine"), MACHINES)
def test_tables_hold_known_pairs_and_every_state_is_reached(table, states, events, machine):
    assert {state for state, _ in table} == set(states)
    assert {event for _, event in table} == events
    initial = machine().state
    reached = {initial} | {target for row in table.values() for target in row.targets}
    assert reached == set(states)


def test_what_a_client_must_never_receive_in_a_state():
    from sync_protocol.messages.page import Page
    from sync_protocol.messages.welcome import Welcome

    assert [state for state in ClientState if (state, Page) in CLIENT_TABLE] == [
        "offline",
        "pulling",
        "stopped",
    ]
    assert [state for state in ClientState if (state, Welcome) in CLIENT_TABLE] == [
        "offline",
        "greeting",
        "stopped",
    ]


def test_the_diagrams_draw_every_state():
    drawn = diagram()
    for state in (*ClientState, *LaneState, *ServerState):
        assert f"{state.replace('-', '_')} --> " in drawn


def test_rows_are_made_for_each_state_and_stay_there_unless_told():
    def handler(machine, event):
        return LaneState.IDLE

    states = (LaneState.SENT, LaneState.IDLE)
    assert rows_of(states, Fault, handler) == {
        (LaneState.SENT, Fault): Row(handler, (LaneState.SENT,)),
        (LaneState.IDLE, Fault): Row(handler, (LaneState.IDLE,)),
    }
    moves = rows_of(LaneState.SENT, Fault, handler, LaneState.IDLE, LaneState.WAITING)
    assert moves == {
        (LaneState.SENT, Fault): Row(handler, (LaneState.IDLE, LaneState.WAITING)),
    }
