"""The merge in SQL equals the reference merge: values, stamps, canonical bytes (merge.md, law 6).

Any delivery order, any duplication (where the type allows it), any cut into batches, many rows and
fields, in memory and in files that are closed and opened anywhere, by JSON and by bound parameters.
"""

# pyright: reportArgumentType=false

import math
from collections import Counter as Tally
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from core.crdt.registry import FIELD_TYPES
from core.ids import RowId, SpaceId
from core.row import RowDelta
from tests.laws import sql_histories as engine

EVERY_KIND = pytest.mark.parametrize("kind", sorted(FIELD_TYPES))
EXAMPLES = max(settings().max_examples * 2 // 5, 40)
MODEST = settings(max_examples=EXAMPLES, suppress_health_check=[*HealthCheck])


@EVERY_KIND
@MODEST
@given(data=st.data())
def test_sql_equals_the_reference(kind, data):
    engine.check(data.draw(engine.histories(engine.collection_of(kind))))


@pytest.mark.parametrize("is_one_batch", [False, True])
def test_sql_breaks_every_tie_as_the_reference_does(is_one_batch):
    for history in engine.stamped_pairs():
        batches = [history.deltas] if is_one_batch else history.batches
        engine.check(replace(history, batches=batches))


@MODEST
@given(data=st.data())
def test_sql_equals_the_reference_for_rows_of_every_kind(data):
    engine.check(data.draw(engine.histories(engine.collection_of_all())))


@EVERY_KIND
@MODEST
@given(data=st.data())
def test_states_go_through_their_columns_unchanged(kind, data):
    """The codec alone: what one delta stores is what is loaded, by either path."""
    history = data.draw(engine.histories(engine.collection_of(kind), with_duplicates=False))
    for delta in history.deltas:
        with engine.replica_of(history) as replica:
            replica.merge([delta])
            expected = engine.fold([delta], history.declared)[delta.row]
            assert engine.canonical(replica.load()[delta.row]) == engine.canonical(expected)


@given(number=st.floats(allow_nan=False, allow_infinity=False))
@example(number=0.1 + 0.2)
@example(number=5e-324)
def test_every_float_survives_in_a_register_and_inside_json(number):
    """SQLite before 3.43 may read a decimal one unit in the last place off; columns must not."""
    number += 0.0
    fields = {"twin": [1, 2, number], "json": [1, 2, [number, {"x": number}]]}
    if number.is_integer() and abs(number) < 2**53:
        del fields["json"]
    delta = RowDelta(engine.NAME, RowId("row-1"), SpaceId(engine.SPACE), (1, 2, True), fields)
    history = engine.History(
        engine.collection_of("lww"), [delta], [[delta]], is_file=False, reopened_after=frozenset()
    )
    engine.check(history)
    with engine.replica_of(history) as replica:
        replica.merge([delta])
        stored = replica.load()["row-1"].fields["twin"]
        assert stored is not None
        assert math.copysign(1, stored[2]) == math.copysign(1, number)


def test_one_call_merges_many_rows_of_many_shapes():
    declared = engine.collection_of("lww")
    made = [
        RowDelta(
            engine.NAME,
            RowId(f"row-{index}"),
            SpaceId(engine.SPACE),
            (5, 2, index % 3 > 0) if index % 2 else None,
            {name: [index + 1, 2, None] for name in ("sample", "text")[: index % 3]},
        )
        for index in range(300)
    ]
    history = engine.History(declared, made, [made], is_file=True, reopened_after=frozenset())
    with engine.replica_of(history) as replica:
        replica.merge(made)
        replica.reopen()
        found = replica.rows.load(engine.NAME, [delta.row for delta in made])
        expected = engine.reference(history)
        assert {row: engine.as_text(state) for row, state in found.items()} == {
            row: engine.as_text(state) for row, state in expected.items()
        }
        assert len({state.sequence for state in found.values()}) == len(made)


@pytest.mark.parametrize("kind", ["lww", "counter", "add_wins"])
def test_histories_are_not_trivial(kind):
    """A suite that never updates, deletes or conflicts proves nothing: minimum frequencies."""
    seen: Tally[str] = Tally()
    runs = 100

    @settings(
        max_examples=runs,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[*HealthCheck],
    )
    @given(data=st.data())
    def count(data):
        engine.tally(data.draw(engine.histories(engine.collection_of(kind))), seen)

    count()
    assert seen["update"] > runs
    assert seen["delete"] > runs // 2
    assert seen["insert"] > runs // 2
    assert seen["conflict"] > runs // 2
    assert seen["bound"] > runs // 4
    assert seen["json"] > runs
    for needed in ("several rows", "several batches", "duplicated", "reopened", "tied"):
        assert seen[needed] > runs // 20, needed
