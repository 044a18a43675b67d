"""Payloads of every kind are well formed, stay within what is declared, and know what was seen."""

import json
from collections import Counter as Tally

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from core import AddWins, Counter, Custom, Flag, Lww, Map, Max, MultiValue, Ranked
from core.crdt.field import Write
from core.crdt.registry import FIELD_TYPES, SAMPLES
from core.errors import Refusal
from skerry_testing import fields, payloads, values
from skerry_testing.payloads import informed_payloads


def later(base, ours, theirs):
    return max(ours, theirs)


EVERY_KIND = pytest.mark.parametrize("kind", sorted(FIELD_TYPES))


@given(data=st.data())
def test_payloads_of_any_declaration_are_well_formed(data):
    field = data.draw(fields())
    parsed = field.parse(data.draw(payloads(field)))
    assert json.dumps(field.parse(parsed)) == json.dumps(parsed)


@EVERY_KIND
@given(data=st.data())
def test_what_a_phone_writes_that_sees_a_state_is_admitted(kind, data):
    """In order, so that everything is seen: only escrow may still refuse."""
    field = data.draw(fields([kind]))
    state = None
    for counter in range(1, data.draw(st.integers(1, 6)) + 1):
        payload = field.parse(data.draw(informed_payloads(field, state)))
        try:
            state = field.merge(state, field.admit(state, payload, Write(counter, 2, counter)))
        except Refusal as refusal:
            assert refusal.code == "escrow-exhausted"  # noqa: PT017  (refusing is not the point)


def test_fields_are_of_every_kind_and_made_anew():
    seen = Tally()

    @settings(max_examples=500, derandomize=True, database=None, phases=[Phase.generate])
    @given(fields(), fields(["lww"]))
    def count(field, lww):
        seen[field.kind] += 1
        assert lww.kind == "lww"
        assert lww.name == "", "nobody else has declared it"
        lww.name = "taken"

    count()
    assert set(seen) == set(SAMPLES)
    assert min(seen.values()) >= 5, seen


@pytest.mark.parametrize(
    "field",
    [
        Lww(int, low=10, default=10),
        Lww(int, high=-10, default=-10),
        Lww(float, low=-9.5, high=-9.25, default=-9.5),
        Lww(str, bytes_max=1),
        Lww.optional(bool),
        Max(float, low=5.5, high=6.5),
        Custom(str, later, bytes_max=3),
    ],
    ids=lambda field: json.dumps(field.describe()),
)
@given(data=st.data())
def test_values_stay_within_the_declared_limits(field, data):
    value = data.draw(values(field))
    field.parse({"value": value} if field.kind == "custom" else value)


@given(data=st.data())
def test_values_are_what_writes_are_made_of(data):
    assert data.draw(values(Ranked("a", "b"))) in ("a", "b")
    assert isinstance(data.draw(values(AddWins())), str)
    assert isinstance(data.draw(values(Map(int))), int)
    assert data.draw(values(Counter())) in range(-5, 6)
    assert data.draw(values(Flag())) is True


def drawn(strategy, runs=60):
    found = []

    @settings(
        max_examples=runs, derandomize=True, database=None, phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow],
    )  # fmt: skip
    @given(strategy)
    def note(value):
        found.append(value)

    note()
    return found


def test_a_phone_names_what_it_has_seen():
    tags, flag, remarks = AddWins(), Flag(), MultiValue(str)
    assert {"remove": {"a": [[2, 7]]}, "add": []} in drawn(
        informed_payloads(tags, [["a", 2, 7, 0], ["b", 3, 1, 1]])
    )
    assert {"off": [[2, 7]]} in drawn(informed_payloads(flag, [[2, 7, 0]]))
    assert all(payload == {"on": True} for payload in drawn(informed_payloads(flag, None)))
    siblings = [[2, 7, 0, 5, "a"], [3, 1, 1, 0, None]]
    assert all(p["seen"] == [[2, 7]] for p in drawn(informed_payloads(remarks, siblings)))
    assert {p["base"] for p in drawn(informed_payloads(Custom(str, later), [1, 2, "x"]))} == {"x"}
    assert {p["base"] for p in drawn(informed_payloads(Custom(str, later), None))} == {None}
    assert {p[0] for p in drawn(informed_payloads(Ranked("a", "b"), [4, 0]))} == {4, 5}
    epochs = {(p.get("epoch"), p.get("reset")) for p in drawn(informed_payloads(Counter(), [3, 9]))}
    assert epochs == {(3, None), (None, 4)}


def test_places_name_rows_that_there_are():
    parents = drawn(informed_payloads(SAMPLES["tree_parent"](), None, rows=("x", "y")))
    assert set(parents) == {None, "x", "y"}


def test_custom_texts_have_several_lines_now_and_then():
    texts = drawn(values(Custom(str, later)))
    assert sum("\n" in text for text in texts) > 10
    assert sum("\n" not in text for text in texts) > 10
