"""Rows: the fold of changes gives the same row in any order."""

import json
from functools import reduce

from hypothesis import event, given
from hypothesis import strategies as st

from core import Lww
from core.crdt.registry import SAMPLES
from core.ids import RowId, SpaceId
from core.row import UNBORN, RowDelta, RowState, RowView, merge_alive, merge_delta
from tests.laws import strategies

FIELDS = {kind: make() for kind, make in SAMPLES.items()}
BLANK = RowState(RowId("r"), SpaceId("s"))
ALIVE = st.tuples(st.integers(1, 3), st.integers(2, 4), st.booleans())
PAYLOADS = {kind: strategies.payloads(field) for kind, field in FIELDS.items()}


def delta(fields, alive=None):
    return RowDelta("things", BLANK.id, BLANK.space, alive, fields)


@st.composite
def row_deltas(draw):
    made = []
    for at in draw(strategies.writes()):
        names = draw(st.sets(st.sampled_from(sorted(FIELDS)), max_size=3))
        states = {
            name: FIELDS[name].delta(FIELDS[name].parse(draw(PAYLOADS[name])), at)
            for name in sorted(names)
        }
        alive = (at.h, at.n, draw(st.booleans())) if draw(st.booleans()) else None
        made.append(delta(states, alive))
    return made


def folded(deltas):
    row = reduce(lambda row, change: merge_delta(row, change, FIELDS), deltas, BLANK)
    return json.dumps([row.alive, dict(sorted(row.fields.items()))])


@given(st.data())
def test_r1_any_order_gives_the_same_row(data):
    deltas = data.draw(row_deltas())
    event(f"deltas: {min(len(deltas), 5)}")
    assert folded(data.draw(st.permutations(deltas))) == folded(deltas)
    assert BLANK.fields == {}


@given(ALIVE, ALIVE, ALIVE)
def test_alive_merges_like_a_register_and_dead_wins_on_one_stamp(a, b, c):
    assert merge_alive(a, b) == merge_alive(b, a)
    assert merge_alive(merge_alive(a, b), c) == merge_alive(a, merge_alive(b, c))
    assert merge_alive(a, a) == a
    assert merge_alive(a, UNBORN) == a
    assert merge_alive((1, 2, True), (1, 2, False)) == (1, 2, False)
    assert merge_alive((1, 2, True), (1, 3, False)) == (1, 3, False)


def test_r2_edits_merge_under_a_tombstone_and_a_restore_shows_them():
    dead = merge_delta(BLANK, delta({"lww": [1, 2, "old"]}, (1, 2, True)), FIELDS)
    dead = merge_delta(dead, delta({}, (2, 3, False)), FIELDS)
    edited = merge_delta(dead, delta({"lww": [3, 2, "new"]}), FIELDS)
    assert not edited.is_alive
    restored = merge_delta(edited, delta({}, (4, 3, True)), FIELDS)
    assert restored.is_alive
    assert restored.fields["lww"] == [3, 2, "new"]


def test_a_view_reads_through_the_fields():
    title = Lww(str, default="untitled")
    title.name = "title"
    row = merge_delta(BLANK, delta({}, (1, 2, True)), {})
    view = RowView(row)
    assert (view.row_id, view.space_id, view.is_alive) == ("r", "s", True)
    assert view.read(title) == "untitled"
    row.fields["title"] = [1, 2, "named"]
    assert view.read(title) == "named"


def test_merging_leaves_the_row_as_it_was():
    row = merge_delta(BLANK, delta({"counter": [0, 1]}), FIELDS)
    merge_delta(row, delta({"counter": [0, 1]}, (5, 5, True)), FIELDS)
    assert row.fields == {"counter": [0, 1]}
    assert row.alive == UNBORN
