"""The oracle against the product: a real node, given the same pushes, says and holds the same."""

# pyright: reportArgumentType=false

import asyncio
import json
import tempfile
from collections import Counter as Tally
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core import Access, App, Change, Collection, Operation, RowId
from core.changes import Mutation
from core.clock import saturated
from core.crdt.registry import SAMPLES
from core.ids import DeviceNumber, MutationCounter
from core.row import RowDelta, RowState, merge_delta
from edge.cli.module import load_app
from skerry_testing import History, Phone, Push, apps, histories, replay, replay_all
from skerry_testing.history import START_H, space_of
from sync_protocol.messages.push import WireChange, WireMutation
from sync_protocol.messages.pushed import Receipt as NodeReceipt
from tests.edge.services.harness import Harness, WallClock, make_device
from tests.skerry_testing.apps import SHOP, Good, Shelf

SURVEY = load_app(Path(__file__).parents[2] / "examples" / "field_survey" / "app.py")
NODE_EXAMPLES = max(settings().max_examples // 4, 25)
MODEST = settings(max_examples=NODE_EXAMPLES, suppress_health_check=[*HealthCheck])
ORDER_FREE = sorted(set(SAMPLES) - {"first_write", "bounded_counter", "custom", "tree_parent"})
"""Kinds whose merge depends on nothing but the set of writes."""


def wire(mutation):
    return WireMutation(
        mutation.counter,
        mutation.h,
        [
            WireChange(c.collection, c.row, c.operation.value, c.space, c.fields, c.base, c.seen)
            for c in mutation.changes
        ],
    )


async def by_a_node(app, history, folder):
    """Send a history's last delivery to a real node, one by one; return its rows and receipts."""
    harness = Harness(folder, app, WallClock())
    await harness.open()
    try:
        devices = {}
        for phone in history.phones:
            for kind, role in phone.roles.items():
                await harness.tenant.members.set(space_of(kind), kind, phone.person, role)
            device = await make_device(harness, phone.person, f"{phone.person}-phone")
            assert device.number == phone.device
            devices[phone.device] = device
        receipts = {}
        for push in history.deliveries[-1]:
            harness.clock.now_ms = push.now_ms
            for mutation in history.mutations_of(push.device)[push.first - 1 : push.last]:
                at = saturated(push.now_ms)
                answer = await devices[push.device].send(wire(mutation), clock=at)
                plain = [NodeReceipt(mutation.counter, "merged", 0)]
                receipts[push.device, mutation.counter] = (answer.receipts or plain)[0]
        await harness.check()
        return await harness.rows(), receipts
    finally:
        await harness.close()


def assert_equals_a_node(app, history):
    with tempfile.TemporaryDirectory() as folder:
        rows, receipts = asyncio.run(by_a_node(app, history, Path(folder)))
    outcome = replay_all(app, history)[-1]
    assert text(outcome.states) == text(rows), "values, stamps, dots: everything"
    assert len(outcome.receipts) == len(receipts) == len(history.mutations)
    for ours in outcome.receipts:
        node = receipts[ours.device, ours.counter]
        told = (ours.outcome, ours.code, ours.message, list(ours.fields))
        assert told == (node.outcome, node.code, node.message, node.fields)
        lost = [(c.field, c.winner.value, c.loser.value) for c in node.conflicts]
        assert lost == [(w.field, w.winner[0], w.loser[0]) for w in ours.lost if w.is_own]


@pytest.mark.parametrize("app", [SHOP, SURVEY], ids=lambda app: app.name)
@MODEST
@given(data=st.data())
def test_a_node_says_and_holds_the_same(app, data):
    assert_equals_a_node(app, data.draw(histories(app)))


@MODEST
@given(data=st.data())
def test_a_node_agrees_about_any_app(data):
    app = data.draw(apps())
    assert_equals_a_node(app, data.draw(histories(app, fields=all_fields(app))))


def all_fields(app):
    return {name: sorted(declared.fields) for name, declared in app.collections.items()}


def of_one_kind(kind):
    everybody = ("owner",)

    class Thing(Collection, space="shop"):
        access = Access(
            read=everybody, insert=everybody, edit=everybody, delete=everybody, restore=everybody
        )
        first = SAMPLES[kind]()
        second = SAMPLES[kind]()

    app = App("things", version=1, spaces={"shop": everybody})
    app.add(Thing)
    return app


@pytest.mark.parametrize("kind", ORDER_FREE)
@MODEST
@given(data=st.data())
def test_what_merges_does_not_depend_on_the_order_of_arrival(kind, data):
    app = of_one_kind(kind)
    history = data.draw(histories(app))
    states = [text(outcome.states) for outcome in replay_all(app, history)]
    assert set(states) == {states[0]}


def text(states):
    return json.dumps(
        [[*key, row.alive, dict(sorted(row.fields.items()))] for key, row in sorted(states.items())]
    )


@given(history=histories(of_one_kind("lww")))
def test_an_independent_fold_gives_the_same_rows(history):
    """Nothing is refused here, so every write counts: the largest stamp wins, whatever arrives."""
    app = of_one_kind("lww")
    fields = app.collections["thing"].fields
    rows = {}
    outcome = replay(app, history)
    assert not outcome.rejected
    for mutation in reversed(history.mutations):
        for change in mutation.changes:
            key = (change.collection, change.row)
            at = (mutation.h, int(mutation.device))
            alive = (*at, change.operation is not Operation.DELETE)
            written = {name: [*at, value] for name, value in change.fields.items()}
            delta = RowDelta(
                *key, change.space, None if change.operation is Operation.EDIT else alive, written
            )
            before = rows.get(key) or RowState(change.row, change.space)
            rows[key] = merge_delta(before, delta, fields)
    assert text(rows) == text(outcome.states)


@given(history=histories(SHOP))
def test_an_outcome_is_read_row_by_row(history):
    outcome = replay(SHOP, history)
    shelves = {shelf.row_id for shelf in outcome.rows(Shelf)}
    for good in outcome.rows(Good):
        assert not good.shelf or good.shelf in shelves, "references hold"
        assert good.stock >= 0
        again = outcome.row(Good, good.row_id)
        assert again is not None
        assert again.title == good.title
    labels = [shelf.label for shelf in outcome.rows(Shelf) if shelf.label is not None]
    assert len(labels) == len(set(labels)), "unique values hold"
    assert outcome.row(Good, "nobody") is None
    outcomes = Tally(receipt.outcome for receipt in outcome.receipts)
    assert outcomes["rejected"] == len(outcome.rejected)
    assert len(outcome.conflicts) >= outcomes["superseded"] - sum(
        receipt.code == "row-deleted" for receipt in outcome.receipts
    )


def insert(row, **fields):
    return Change("shelf", RowId(row), Operation.INSERT, space_of("shop"), fields,
                  proposals=Shelf.fields)  # fmt: skip


def a_history(*changes, repeated=False):
    ann = Phone(DeviceNumber(2), "ann", {"shop": "owner"})
    mutation = Mutation(ann.device, MutationCounter(1), START_H, changes)
    push = Push(ann.device, 1, 1, 1_790_000_000_000)
    return History((ann,), (mutation,), ((push, push) if repeated else (push,),))


def test_two_rows_of_one_mutation_may_not_share_a_unique_value():
    outcome = replay(SHOP, a_history(insert("s1", label="a"), insert("s2", label="a")))
    assert [receipt.code for receipt in outcome.rejected] == ["not-unique"]
    assert not outcome.states, "a mutation is taken whole or not at all"


def test_a_repeated_push_is_taken_once():
    outcome = replay(SHOP, a_history(insert("s1", label="a"), repeated=True))
    assert [receipt.outcome for receipt in outcome.receipts] == ["merged"]
    assert [shelf.label for shelf in outcome.rows(Shelf)] == ["a"]


def test_a_stranger_to_the_space_is_refused():
    change = insert("s1", label="a")
    change.space = space_of("elsewhere")
    outcome = replay(SHOP, a_history(change))
    assert [receipt.code for receipt in outcome.rejected] == ["row-missing"]
