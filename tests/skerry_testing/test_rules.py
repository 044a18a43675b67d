"""Each fault of a rule is found on some history; sound rules pass; a fault says which rule."""

import itertools

import pytest
from hypothesis import HealthCheck, Phase, settings

from core import Accept, Access, App, Change, Collection, Counter, Derive, Lww, Operation, Reject
from skerry_testing import check_rules
from tests.skerry_testing.apps import SHOP

COINS = itertools.cycle((True, False, False))
UNSHRUNK = settings(phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow])
STAFF = ("owner", "clerk")


class Item(Collection, space="shop"):
    access = Access(read=STAFF, insert=STAFF, edit=STAFF, delete=STAFF, restore=STAFF)
    title = Lww.optional(str)
    price = Lww(int, low=0, high=3)
    sold = Counter()


class Other(Collection, space="shop"):
    access = Item.access
    title = Lww(str)


def app_with(rule):
    app = App("shop", version=1, spaces={"shop": STAFF})
    app.add(Item, Other)
    app.rule(Item)(rule)
    return app


def derived(collection, **fields):
    return lambda _actor, before, change: Derive(
        (Change(collection, change.row, Operation.EDIT, before.space_id, fields),)
    )


def divides(actor, before, change):
    return Reject("cheap", "Too cheap.") if 1 / before.price < 1 else None


def shouts(actor, before, change):
    if "title" in change:
        change.fields["title"] = "LOUD"


def forgets(actor, before, change):
    before._state.fields.clear()


def gambles(actor, before, change):
    return Reject("unlucky", "Try again.") if next(COINS) else None


def says_no(actor, before, change):
    return False


def measures(actor, before, change):
    proposed = change.get(Item.title)
    return Reject("too-long", "Shorter.") if "title" in change and len(proposed) > 3 else None


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (divides, "rule divides raised ZeroDivisionError"),
        (measures, "rule measures raised TypeError"),
        (shouts, "rule shouts changed its arguments"),
        (forgets, "rule forgets changed its arguments"),
        (gambles, "rule gambles is not deterministic"),
        (says_no, "rule says_no: it answered False"),
        (derived("gone", title="x"), "derives a change of 'gone', which is not declared"),
        (derived("other", titel="x"), "derives a write of other.titel, which is not declared"),
        (derived("other", title=3), "derives other.title = 3: wrong-type"),
    ],
)
def test_a_fault_is_found(rule, message):
    with pytest.raises(AssertionError, match=message):
        check_rules(app_with(rule), settings=UNSHRUNK)


def careful(actor, before, change):
    proposed = change.get(Item.title)
    if proposed is not None and len(proposed) > 3:
        return Reject("too-long", "Shorter.", ("title",))
    return Accept() if actor.role == "owner" else None


def test_a_fault_is_shown_with_a_small_history():
    with pytest.raises(AssertionError) as caught:
        check_rules(app_with(says_no), Item, fields={"item": ("sold",)})
    assert "change=Change(collection='item', row='row-1'" in str(caught.value)
    assert "fields={}" in str(caught.value), "shrunk"


def test_sound_rules_pass():
    check_rules(app_with(careful))
    check_rules(app_with(derived("other", title="x")))
    check_rules(SHOP)


def test_only_the_named_collections_are_watched():
    app = app_with(divides)
    check_rules(app, Other)
    with pytest.raises(AssertionError, match="divides"):
        check_rules(app, Item, fields={"item": ("price",)}, settings=UNSHRUNK)


def test_the_app_itself_stays_as_it_is():
    app = app_with(careful)
    check_rules(app)
    assert app.rules["item"] == [careful]
