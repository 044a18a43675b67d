"""Ranked labels with epochs."""

import pytest

from core.crdt.field import Write
from core.crdt.ranked import EPOCH_MAX, Ranked
from core.errors import DeclarationError, FieldError, Refusal

AT = Write(1, 2, 3)


def test_the_label_furthest_along_wins_within_an_epoch():
    status = Ranked("draft", "sent", "paid")
    sent, paid = status.parse("sent"), status.parse("paid")
    assert status.value(status.merge(sent, paid)) == "paid"
    assert status.value(status.merge(paid, sent)) == "paid"


def test_a_later_epoch_reopens():
    status = Ranked("draft", "sent", "paid")
    paid, reopened = status.parse("paid"), status.parse([1, "draft"])
    assert status.value(status.merge(paid, reopened)) == "draft"
    assert status.value(status.merge(reopened, paid)) == "draft"
    assert status.epoch_of(reopened) == 1


def test_default_and_proposed_are_labels():
    status = Ranked("draft", "sent")
    assert status.value(None) == "draft"
    assert Ranked("draft", "sent", default="sent").value(None) == "sent"
    assert status.proposed(status.parse([4, "sent"])) == "sent"


def test_an_epoch_nobody_could_reopen_is_refused():
    status = Ranked("draft", "sent")
    assert status.admit([0, 1], [1, 0], AT) == [1, 0]
    for before, epoch in ((None, 2), ([3, 0], 5), ([0, 0], EPOCH_MAX)):
        with pytest.raises(Refusal) as raised:
            status.admit(before, [epoch, 0], AT)
        assert raised.value.code == "epoch-ahead"


@pytest.mark.parametrize(
    "payload",
    [
        "lost",
        ["draft", 0],
        [0],
        [0, "draft", 1],
        [-1, "draft"],
        [EPOCH_MAX + 1, "draft"],
        [0, 2],
        [0, True],
        [True, "draft"],
        [0, []],
        {},
        None,
        0,
    ],
)
def test_bad_payloads(payload):
    with pytest.raises(FieldError):
        Ranked("draft", "sent").parse(payload)


@pytest.mark.parametrize("labels", [(), ("a", "a"), ("x" * 300,), (3,)])
def test_bad_declarations(labels):
    with pytest.raises(DeclarationError):
        Ranked(*labels)


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ("lost", "unknown-label"),
        ([0, True], "unknown-label"),
        ([0], "wrong-type"),
        ([0, "draft", 1], "too-many"),
        ([0, 2], "out-of-range"),
        ([0, -1], "out-of-range"),
    ],
)
def test_what_is_wrong_is_told(payload, code):
    with pytest.raises(FieldError) as raised:
        Ranked("draft", "sent").parse(payload)
    assert raised.value.code == code


def test_labels_and_default_are_bounded():
    assert len(Ranked(*map(str, range(100))).labels) == 100
    assert Ranked("x" * 256).value(None) == "x" * 256
    for labels, default in ((map(str, range(101)), None), (["draft"], "sent")):
        with pytest.raises(DeclarationError):
            Ranked(*labels, default=default)


def test_before_any_write_the_epoch_is_zero():
    assert Ranked("draft", "sent").epoch_of(None) == 0


def test_a_parsed_payload_parses_to_itself():
    status = Ranked("draft", "sent", "paid")
    for rank in range(3):
        assert status.parse([4, rank]) == [4, rank]


@pytest.mark.parametrize(
    ("before", "payload", "is_admitted"),
    [
        (None, [1, 0], True),
        (None, [2, 0], False),
        ([3, 0], [4, 0], True),
        ([3, 0], [5, 0], False),
        ([0, 1], [2, 0], False),
    ],
)
def test_the_next_epoch_may_be_opened(before, payload, is_admitted):
    status = Ranked("draft", "sent")
    if is_admitted:
        assert status.admit(before, payload, AT) == payload
    else:
        with pytest.raises(Refusal):
            status.admit(before, payload, AT)
