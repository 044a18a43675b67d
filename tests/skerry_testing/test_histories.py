"""Histories are possible, complete, and full of what goes wrong between phones."""

import re
from collections import Counter as Tally

from hypothesis import HealthCheck, Phase, given, settings

from core import App, Collection, Lww, Operation
from core.ids import PRIMARY
from skerry_testing import apps, changes, histories, mutations, replay, replay_all
from skerry_testing.primary import Primary
from tests.skerry_testing.apps import ROLES, SHOP, Good, Shelf

COUNTED = settings(
    max_examples=200,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)


@given(histories(SHOP))
def test_every_delivery_is_complete_and_keeps_each_phones_order(history):
    for phone in history.phones:
        made = history.mutations_of(phone.device)
        assert [mutation.counter for mutation in made] == list(range(1, len(made) + 1))
        stamps = [mutation.h for mutation in made]
        assert stamps == sorted(set(stamps)), "a phone's clock only grows"
        for delivery in history.deliveries:
            arrived = 0
            for push in delivery:
                if push.device == phone.device:
                    assert push.first <= arrived + 1, "no push leaves a gap"
                    arrived = max(arrived, push.last)
            assert arrived == len(made)


@given(histories(SHOP))
def test_in_every_delivery_authors_have_seen_what_had_arrived(history):
    """Every base is the stamp of a write that was merged before, or of the author's own."""
    for delivery in history.deliveries:
        primary = Primary(SHOP, history.role_in)
        known = {}
        for push in delivery:
            for mutation in history.mutations_of(push.device)[push.first - 1 : push.last]:
                for change in mutation.changes:
                    for name, base in change.base.items():
                        key = (change.collection, change.row, name)
                        own = {m.h for m in history.mutations_of(push.device)}
                        assert base in known.get(key, set()) | own
                primary.take(mutation, history.phone(push.device).person, push.now_ms)
                for (collection, row), state in primary.rows.states.items():
                    for name, written in state.fields.items():
                        if written and SHOP.collections[collection].fields[name].is_register:
                            known.setdefault((collection, row, name), set()).add(written[0])


@given(histories(SHOP))
def test_dots_name_writes_of_phones_before(history):
    made = {}
    for mutation in history.mutations:
        for change in mutation.changes:
            removed = change.fields["tags"]["remove"] if "tags" in change else {}
            for dots in removed.values():
                assert all(counter <= made.get(n, 0) for n, counter in dots), "of the future"
        made[mutation.device] = mutation.counter


@given(apps().flatmap(histories))
def test_histories_of_any_app_are_replayed_in_every_order(history):
    assert len(history.deliveries) >= 1


@given(histories(SHOP, devices=4, rows=("only",), steps=6, fields={"good": ("title", "visits")}))
def test_arguments_bound_a_history(history):
    assert 2 <= len(history.phones) <= 4
    for mutation in history.mutations:
        for change in mutation.changes:
            assert (change.collection, change.row) == ("good", "only")
            assert set(change.fields) <= {"title", "visits"}


@given(changes(Good, rows=("g1",), role="member"))
def test_a_change_of_an_unknown_row_inserts_it(change):
    assert (change.operation, change.row, change.space) == (Operation.INSERT, "g1", "shop:1")
    assert "price" not in change.fields, "members may not write it"


@given(mutations(SHOP, counter=3, h=7))
def test_a_mutation_names_each_row_once(mutation):
    assert (mutation.counter, mutation.h) == (3, 7)
    rows = [(change.collection, change.row) for change in mutation.changes]
    assert 1 <= len(rows) == len(set(rows)) <= 2


def counted(strategy, app):
    seen = Tally()

    @COUNTED
    @given(strategy)
    def count(history):
        seen["histories"] += 1
        outcome = replay(app, history)
        stamps = [mutation.h for mutation in history.mutations]
        made = [change for mutation in history.mutations for change in mutation.changes]
        operations = {change.operation for change in made}
        notes = {
            "conflict": bool(outcome.conflicts),
            "update": Operation.EDIT in operations,
            "delete": Operation.DELETE in operations,
            "restore": Operation.RESTORE in operations,
            "tie": len(stamps) > len(set(stamps)),
            "rejected": bool(outcome.rejected),
            "superseded": any(r.outcome == "superseded" for r in outcome.receipts),
            "base seen": any(change.base for change in made),
            "several deliveries": len(history.deliveries) > 1,
            "repeated": any(len(set(delivery)) < len(delivery) for delivery in history.deliveries),
            "whole queue at once": any(p.last > p.first for d in history.deliveries for p in d),
            "another result": len({str(o.states) for o in replay_all(app, history)}) > 1,
            "primary's own": any(state.alive[1] == PRIMARY for state in outcome.states.values()),
        }
        for name, is_so in notes.items():
            seen[name] += is_so

    count()
    return seen


def test_histories_are_not_trivial():
    """A suite that never updates, deletes or conflicts proves nothing: minimum frequencies."""
    seen = counted(histories(SHOP), SHOP)
    runs = seen["histories"]
    assert runs >= 150
    for name in ("update", "base seen"):
        assert seen[name] > runs * 0.7, (name, seen)
    for name in ("conflict", "delete", "tie", "rejected", "superseded", "several deliveries"):
        assert seen[name] > runs * 0.25, (name, seen)
    for name in ("restore", "repeated", "whole queue at once", "another result"):
        assert seen[name] > runs * 0.1, (name, seen)
    assert seen["primary's own"] > runs * 0.03, seen


def test_a_small_app_conflicts_in_most_histories():
    seen = counted(histories(SHOP, rows=("g1",), fields={"good": ("title",)}), SHOP)
    assert seen["conflict"] > seen["histories"] * 0.4, seen


def test_a_history_is_told_line_by_line():
    told = []

    @settings(COUNTED, max_examples=20)
    @given(histories(SHOP))
    def tell(history):
        told.append(repr(history))

    tell()
    longest = max(told, key=len)
    assert "phone 2: ann, owner of shop:1" in longest
    assert re.search(r"2#1 at \d+: insert (good|shelf) row-1", longest)
    assert "delivered: 2#1-" in longest


def test_a_person_without_any_right_still_makes_a_history():
    class Locked(Collection, space="shop"):
        access = Shelf.access.__class__(read=ROLES)
        title = Lww(str)

    app = App("locked", version=1, spaces={"shop": ROLES})
    app.add(Locked)

    @settings(COUNTED, max_examples=20)
    @given(histories(app))
    def refused(history):
        outcome = replay(app, history)
        assert not outcome.states
        assert {receipt.code for receipt in outcome.receipts} <= {"forbidden", "row-missing"}

    refused()
