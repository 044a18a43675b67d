"""Laws L1-L4 and delivery, for every registered type; how often conflicts occur is counted."""

import copy
import itertools
import json
from collections import Counter as Tally
from functools import reduce
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from core import Custom, Group, Lww, Map, Max, MultiValue
from core.crdt.field import Register
from core.crdt.registry import FIELD_TYPES, SAMPLES
from core.errors import FieldError, Refusal
from tests.laws import strategies

EVERY_KIND = pytest.mark.parametrize("kind", sorted(FIELD_TYPES))
GROWING = ("add_wins", "append_only", "flag", "map", "multi_value")


def text(state):
    """The state as JSON: unlike ==, it tells 1 from 1.0 and from true."""
    return json.dumps(state, ensure_ascii=False, allow_nan=False)


def fold(field, deltas, start=None):
    return reduce(field.merge, deltas, start)


def test_registry_and_samples_agree():
    assert list(FIELD_TYPES) == list(SAMPLES)
    for kind, make in SAMPLES.items():
        assert make().kind == kind
        assert type(make()) is FIELD_TYPES[kind]
        assert make().is_register == isinstance(make(), Register)
        assert json.loads(json.dumps(make().describe())) == make().describe()


@EVERY_KIND
@given(data=st.data())
def test_merge_is_commutative_and_associative(kind, data):
    """L1, over states that are themselves folds of parts of one history."""
    field = SAMPLES[kind]()
    deltas = data.draw(strategies.deltas(field))
    part = st.lists(st.sampled_from(deltas or [None]), max_size=6)
    a, b, c = (fold(field, data.draw(part)) for _ in range(3))
    assert text(field.merge(a, b)) == text(field.merge(b, a))
    assert text(field.merge(field.merge(a, b), c)) == text(field.merge(a, field.merge(b, c)))


@EVERY_KIND
@given(data=st.data())
def test_nothing_is_neutral(kind, data):
    """L2."""
    field = SAMPLES[kind]()
    state = fold(field, data.draw(strategies.deltas(field)))
    assert text(field.merge(state, None)) == text(state) == text(field.merge(None, state))


@EVERY_KIND
@given(data=st.data())
def test_merge_is_idempotent_or_says_that_it_is_not(kind, data):
    """L3."""
    field = SAMPLES[kind]()
    state = fold(field, data.draw(strategies.deltas(field)))
    if field.is_idempotent:
        assert text(field.merge(state, state)) == text(state)


@EVERY_KIND
@given(data=st.data())
def test_states_are_canonical_json(kind, data):
    """L4: reading back a stored state changes nothing, and no state is an empty array."""
    field = SAMPLES[kind]()
    state = fold(field, data.draw(strategies.deltas(field)))
    assert text(json.loads(text(state))) == text(state)
    assert state != []
    assert field.value(json.loads(text(state))) == field.value(state)


@EVERY_KIND
@given(data=st.data())
def test_merge_changes_no_argument(kind, data):
    field = SAMPLES[kind]()
    deltas = data.draw(strategies.deltas(field))
    before = copy.deepcopy(deltas)
    fold(field, deltas)
    fold(field, reversed(deltas))
    assert deltas == before


@EVERY_KIND
@given(data=st.data())
def test_any_delivery_order_duplication_and_batching(kind, data):
    """merge.md section 6, laws 1 to 3."""
    field = SAMPLES[kind]()
    deltas = data.draw(strategies.deltas(field))
    expected = text(fold(field, deltas))
    shuffled = data.draw(st.permutations(deltas))
    assert text(fold(field, shuffled)) == expected
    cuts = sorted(data.draw(st.sets(st.integers(0, len(deltas)), max_size=4)) | {0, len(deltas)})
    batches = [shuffled[a:b] for a, b in itertools.pairwise(cuts)]
    assert text(fold(field, [fold(field, batch) for batch in batches])) == expected
    if field.is_idempotent and deltas:
        again = data.draw(st.lists(st.sampled_from(deltas), max_size=6))
        assert text(fold(field, [*shuffled, *again])) == expected
        event("duplicated" if again else "not duplicated")


@EVERY_KIND
@given(data=st.data())
def test_any_payload_parses_to_a_fixed_point_or_fails_as_field_error(kind, data):
    field = SAMPLES[kind]()
    payload = data.draw(strategies.anything() | strategies.damaged(field))
    try:
        parsed = field.parse(payload)
    except FieldError as problem:
        event(problem.code)
        return
    event("parsed")
    assert text(field.parse(parsed)) == text(parsed)
    assert text(field.parse(json.loads(text(parsed)))) == text(parsed)


@EVERY_KIND
def test_deep_and_huge_payloads_fail_as_field_error(kind):
    deep: object = []
    for _ in range(100_000):
        deep = [deep]
    for hostile in (deep, 10**5_000, [10**5_000] * 2, {10**5_000: 1}):
        for payload in (hostile, {"value": hostile, "seen": hostile}, {"set": {"a": hostile}}):
            with pytest.raises(FieldError):
                SAMPLES[kind]().parse(payload)


@EVERY_KIND
@given(data=st.data())
def test_every_well_formed_payload_is_taken_and_proposed(kind, data):
    field = SAMPLES[kind]()
    parsed = field.parse(data.draw(strategies.payloads(field)))
    field.proposed(parsed)
    assert text(field.parse(parsed)) == text(parsed)


@pytest.mark.parametrize(
    "field",
    [
        Lww(int, low=10, high=12, default=10),
        Lww(float, low=-9.5, high=-9.25, default=-9.5),
        Lww(str, bytes_max=1),
        Lww(bool),
        Map(object),
        Max(float, low=5.5, high=6.5),
        Group(name=str, is_open=bool),
        MultiValue(int),
        Custom(object, lambda *versions: versions[1]),
    ],
    ids=lambda field: f"{field.kind}-{field.describe().get('scalar')}",
)
@given(data=st.data())
def test_payloads_of_other_declarations_are_well_formed_too(field, data):
    field.parse(data.draw(strategies.payloads(field)))


@pytest.mark.parametrize("kind", GROWING)
@given(data=st.data())
def test_a_full_field_stays_within_its_size(kind, data):
    field: Any = SAMPLES[kind]()
    field.entries_max = 3
    state = None
    for at, payload in data.draw(strategies.histories(SAMPLES[kind]())):
        try:
            state = field.merge(state, field.admit(state, payload, at))
        except Refusal as refusal:
            event(refusal.code)
        assert state is None or len(state) <= field.entries_max


@EVERY_KIND
def test_histories_are_full_of_conflicts(kind):
    """The laws above would hold of histories in which nothing ever meets; these do meet."""
    field = SAMPLES[kind]()
    tally = Tally()

    @settings(
        max_examples=100,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(history=strategies.histories(field))
    def count(history):
        tally["histories"] += 1
        stamps = [at.h for at, _ in history]
        tally["ties"] += len(set(stamps)) < len(stamps)
        deltas = [field.delta(payload, at) for at, payload in history]
        written = [delta for delta in deltas if delta is not None]
        tally["written"] += bool(written)
        state = None
        has_update = has_conflict = False
        for delta in written:
            merged = field.merge(state, delta)
            has_update |= state is not None and merged != state
            has_conflict |= state is not None and merged != delta
            state = merged
        tally["updates"] += has_update
        tally["conflicts"] += has_conflict

    count()
    assert tally["histories"] >= 80, tally
    for name in ("written", "ties", "updates", "conflicts"):
        assert tally[name] >= tally["histories"] * 0.3, (name, tally)
