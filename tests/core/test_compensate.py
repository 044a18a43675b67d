"""The checks over several rows: typed rejections, and changes of the primary's own."""

from itertools import count
from typing import Any

import pytest

from core import (
    Access,
    App,
    Change,
    Collection,
    Counter,
    Flag,
    Lww,
    Operation,
    Reference,
    Reject,
    RowId,
    SpaceId,
    TreeParent,
    Unique,
)
from core import compensate as checks
from core.compensate import Compensator, constrained_collections
from core.crdt import tree_parent
from core.ids import PRIMARY
from core.judge import LostWrite, Verdict
from core.row import RowDelta, RowState

ROLES = ("member",)
OPEN = Access(read=ROLES, insert=ROLES, edit=ROLES, delete=ROLES, restore=ROLES)
N, S = SpaceId("north"), SpaceId("south")
H, LATER = 100, 1_000
AUTHOR = 7


class Plain(Collection, space="team"):
    text = Lww(str)
    access = OPEN


class Folder(Collection, space="team"):
    name = Lww(str)
    label = Lww.optional(str)
    code = Lww(str)
    above = TreeParent()
    visits = Counter()
    unique = (Unique(("name", "label")), Unique(("code",), scope="tenant"))
    access = OPEN


class Kept(Collection, space="team"):
    folder = Lww(str)
    references = (Reference("folder", "folder", on_delete="reject"),)
    access = OPEN


class Swept(Collection, space="team"):
    folder = Lww(str)
    references = (Reference("folder", "folder", on_delete="cascade"),)
    access = OPEN


class Loose(Collection, space="team"):
    folder = Lww.optional(str)
    swept = Lww.optional(str)
    starred = Flag()
    references = (
        Reference("folder", "folder", on_delete="clear"),
        Reference("swept", "swept", on_delete="cascade"),
    )
    access = OPEN


class Outline(Collection, space="team"):
    under = TreeParent()
    text = Lww(str)
    access = OPEN


APP = App("checks", version=1, spaces={"team": ROLES})
APP.add(Plain, Folder, Kept, Swept, Loose, Outline)


class Rows:
    """Rows in memory, found as the node finds them in SQLite."""

    def __init__(self):
        self.states = {}
        self.loads = []

    def put(self, collection, row, space=N, *, alive=True, **values):
        states: dict[str, Any] = {
            name: value if isinstance(value, list) else [H, AUTHOR, value]
            for name, value in values.items()
        }
        state = RowState(RowId(row), space, 1, (H, AUTHOR, alive), states)
        self.states[collection, row] = state

    def load(self, collection, ids):
        ids = list(ids)
        self.loads.append((collection, ids))
        found = ((row, self.states.get((collection, row))) for row in ids)
        return {row: state for row, state in found if state is not None}

    def unique_holder(self, collection, fields, values, space):
        assert len(values) == len(fields)
        assert None not in values, "null is nobody's"
        found = [
            row
            for (name, row), state in self.states.items()
            if name == collection
            and state.is_alive
            and space in {None, state.space}
            and all(field in state.fields for field in fields)
            and [state.fields[field][2] for field in fields] == list(values)
        ]
        return found[:2]

    def referrers(self, collection, field, target, space):
        return [
            row
            for (name, row), state in self.states.items()
            if name == collection
            and state.is_alive
            and state.space == space
            and state.fields.get(field, [0, 0, None])[2] == target
        ]


class Primary:
    """Whatever has rows to look at, and a clock."""

    def __init__(self):
        self.rows = Rows()
        self.ticks = count(LATER)
        self.compensator = Compensator(APP, self, lambda: next(self.ticks))
        self.verdict = Verdict()

    def judged(self, *deltas, derived=()):
        self.verdict = Verdict()
        self.verdict.deltas.extend(deltas)
        self.verdict.derived.extend(derived)
        return self.compensator.apply(self.verdict, {})

    def own(self, *deltas, derived=()):
        own, rejection = self.judged(*deltas, derived=derived)
        assert rejection is None, rejection
        return own

    def code(self, *deltas, derived=()):
        own, rejection = self.judged(*deltas, derived=derived)
        assert rejection is not None, own
        assert own == []
        return rejection.code


@pytest.fixture
def primary():
    return Primary()


def written(collection, row, space=N, *, alive=None, **values):
    """Return a delta; `alive` True inserts or restores, False deletes."""
    stamp = None if alive is None else (LATER - 1, AUTHOR, alive)
    fields = {name: [LATER - 1, AUTHOR, value] for name, value in values.items()}
    return RowDelta(collection, RowId(row), space, stamp, fields)


def derived(collection, row, operation, space=N, **fields):
    return Change(collection, RowId(row), operation, space, fields)


# --- who is looked at ----------------------------------------------------------------------------


def test_collections_whose_writes_concern_other_rows():
    assert constrained_collections(APP) == {"folder", "kept", "swept", "loose", "outline"}


def test_targets_of_references_are_constrained():
    class Target(Collection, space="team"):
        text = Lww(str)
        access = OPEN

    class Pointing(Collection, space="team"):
        to = Lww(str)
        references = (Reference("to", "target"),)
        access = OPEN

    class Single(Collection, space="team"):
        name = Lww(str)
        unique = (Unique(("name",)),)
        access = OPEN

    app = App("targets", version=1, spaces={"team": ROLES})
    app.add(Target, Pointing, Single)
    assert constrained_collections(app) == {"target", "pointing", "single"}


def test_only_what_may_concern_others_needs_a_look(primary):
    look = primary.compensator.needs_look
    verdict = Verdict()
    verdict.deltas.append(written("plain", "p", text="x"))
    assert not look(verdict)
    verdict.deltas.append(written("outline", "o"))
    assert look(verdict), "one of several is enough"
    verdict = Verdict()
    verdict.derived.append(derived("plain", "p", Operation.DELETE))
    assert look(verdict)


def test_an_app_without_constraints_is_never_looked_at():
    app = App("plain", version=1, spaces={"team": ROLES})
    app.add(Plain)
    primary = Primary()
    compensator = Compensator(app, primary, lambda: next(primary.ticks))
    verdict = Verdict()
    verdict.deltas.append(written("plain", "p", text="x"))
    assert compensator.needs_look(verdict) is False
    assert compensator.apply(verdict, {}) == ([], None)


def test_rows_that_were_loaded_are_left_to_the_caller_and_loaded_once(primary):
    primary.rows.put("outline", "a")
    primary.rows.put("outline", "b", under="a")
    befores = {}
    primary.verdict.deltas.append(written("outline", "b", under="a"))
    assert primary.compensator.apply(primary.verdict, befores) == ([], None)
    assert set(befores) == {("outline", "a"), ("outline", "b")}
    assert sorted(primary.rows.loads) == [("outline", ["a"]), ("outline", ["b"])]


# --- unique --------------------------------------------------------------------------------------


def test_two_living_rows_of_a_space_have_not_the_same_values(primary):
    primary.rows.put("folder", "f1", name="a", label="x")
    own, rejection = primary.judged(written("folder", "f2", alive=True, name="a", label="x"))
    assert own == []
    assert rejection == Reject(
        "not-unique", "Another row has these values already.", ("name", "label")
    )
    assert primary.own(written("folder", "f2", alive=True, name="a", label="y")) == []
    assert primary.own(written("folder", "f2", alive=True, name="a")) == [], "never written"
    assert primary.own(written("folder", "f2", alive=True, name="a", label=None)) == []
    assert primary.own(written("folder", "f1", name="a", label="x")) == [], "it is the row itself"


def test_values_are_unique_in_a_space_or_in_all(primary):
    primary.rows.put("folder", "f1", name="a", label="x", code="c")
    assert primary.own(written("folder", "f2", S, alive=True, name="a", label="x")) == []
    assert primary.code(written("folder", "f2", S, alive=True, code="c")) == "not-unique"


def test_a_value_is_looked_for_when_it_or_the_row_s_life_changes(primary):
    primary.rows.put("folder", "f1", name="a", label="x")
    primary.rows.put("folder", "f2", name="b", label="x")
    primary.rows.put("folder", "f3", alive=False, name="a", label="x")
    assert primary.code(written("folder", "f2", name="a")) == "not-unique", "with its stored label"
    assert primary.code(written("folder", "f3", alive=True)) == "not-unique", "restored"
    assert primary.own(written("folder", "f3", label="x")) == [], "dead rows hold nothing"
    assert primary.own(written("folder", "f2", alive=False, name="a")) == []
    primary.rows.put("folder", "f4", name="a", label="x")
    assert primary.own(written("folder", "f4", code="new")) == [], "another field"
    assert primary.code(written("folder", "f4", name="a")) == "not-unique", "one of two holders"


# --- references ----------------------------------------------------------------------------------


def test_a_reference_is_to_a_living_row_of_its_space(primary):
    primary.rows.put("folder", "there")
    primary.rows.put("folder", "dead", alive=False)
    primary.rows.put("folder", "elsewhere", S)
    assert primary.own(written("kept", "k", alive=True, folder="there")) == []
    for missing in ("nowhere", "dead", "elsewhere"):
        own, rejection = primary.judged(written("kept", "k", alive=True, folder=missing))
        assert own == []
        assert rejection == Reject(
            "reference-missing", "folder refers to a row that is not there.", ("folder",)
        )
    for empty in (None, ""):
        assert primary.own(written("kept", "k", alive=True, folder=empty)) == []
    assert primary.own(written("kept", "k", alive=True)) == [], "never written"


def test_a_row_that_the_same_mutation_inserts_is_there(primary):
    folder = written("folder", "f", alive=True)
    assert primary.own(written("kept", "k", alive=True, folder="f"), folder) == []
    primary.rows.put("folder", "f")
    gone = written("folder", "f", alive=False)
    assert primary.code(written("kept", "k", alive=True, folder="f"), gone) == "reference-missing"


def test_a_restored_row_s_reference_may_have_gone_meanwhile(primary):
    primary.rows.put("folder", "there")
    primary.rows.put("kept", "k", alive=False, folder="gone")
    primary.rows.put("kept", "well", alive=False, folder="there")
    assert primary.code(written("kept", "k", alive=True)) == "reference-missing"
    assert primary.own(written("kept", "well", alive=True)) == []
    assert primary.own(written("kept", "k", alive=True, folder="there")) == []
    assert primary.own(written("kept", "k", alive=False)) == [], "a delete refers to nothing"
    primary.rows.states["kept", "k"].alive = (H, AUTHOR, True)
    primary.rows.put("kept", "other", folder="gone")
    other = RowDelta("kept", RowId("other"), N, None, {})
    assert primary.own(other) == [], "an edit of something else is not asked"


def test_a_restore_that_loses_to_a_later_delete_refers_to_nothing(primary):
    primary.rows.put("kept", "k", alive=False, folder="gone")
    primary.rows.states["kept", "k"].alive = (LATER, AUTHOR, False)
    assert primary.own(written("kept", "k", alive=True)) == []


def test_an_edit_refers_to_what_it_writes(primary):
    primary.rows.put("folder", "there")
    primary.rows.put("kept", "k", folder="there")
    assert primary.code(written("kept", "k", folder="gone")) == "reference-missing"
    primary.rows.put("kept", "k", alive=False, folder=[LATER, AUTHOR, "there"])
    assert primary.code(written("kept", "k", alive=True, folder="gone")) == "reference-missing", (
        "even if a later write has won"
    )


def test_a_delete_that_loses_to_a_later_restore_refers_to_nothing(primary):
    primary.rows.put("kept", "k", folder="gone")
    primary.rows.states["kept", "k"].alive = (LATER, AUTHOR, True)
    assert primary.own(written("kept", "k", alive=False)) == []


def test_every_reference_of_a_row_is_asked(primary):
    primary.rows.put("folder", "f")
    primary.rows.put("swept", "s")
    assert primary.own(written("loose", "l", alive=True, folder="f", swept="s")) == []
    assert primary.code(written("loose", "l", alive=True, folder="f", swept="no")) == (
        "reference-missing"
    )
    assert primary.code(written("loose", "l", alive=True, folder="no", swept="s")) == (
        "reference-missing"
    )


# --- deletes -------------------------------------------------------------------------------------


def test_a_row_that_is_referred_to_is_kept(primary):
    primary.rows.put("folder", "f")
    primary.rows.put("kept", "k", folder="f")
    own, rejection = primary.judged(written("folder", "f", alive=False))
    assert own == []
    assert rejection == Reject("row-referenced", "Rows of 'kept' still refer to this one.")
    assert primary.own(written("folder", "f", alive=True)) == [], "not deleted"
    assert primary.own(written("folder", "f", label="x")) == []
    primary.rows.put("kept", "k", alive=False, folder="f")
    primary.rows.put("kept", "other", S, folder="f")
    assert primary.own(written("folder", "f", alive=False)) == []


def test_a_delete_sweeps_and_clears_what_refers_to_the_row_and_so_on(primary):
    primary.rows.put("folder", "f")
    primary.rows.put("swept", "s1", folder="f")
    primary.rows.put("swept", "s2", folder="f")
    primary.rows.put("loose", "l1", folder="f")
    primary.rows.put("loose", "l2", swept="s2")
    own = primary.own(written("folder", "f", alive=False))
    one = int(PRIMARY)
    assert own == [
        RowDelta("swept", RowId("s1"), N, (LATER, one, False), {}),
        RowDelta("swept", RowId("s2"), N, (LATER + 1, one, False), {}),
        RowDelta("loose", RowId("l1"), N, None, {"folder": [LATER + 2, one, None]}),
        RowDelta("loose", RowId("l2"), N, (LATER + 3, one, False), {}),
    ]


def test_a_mutation_changes_no_more_rows_than_its_limit(primary, monkeypatch):
    monkeypatch.setattr(checks, "DERIVED_MAX", 3)
    primary.rows.put("folder", "f")
    for number in range(3):
        primary.rows.put("swept", f"s{number}", folder="f")
    assert len(primary.own(written("folder", "f", alive=False))) == 3
    primary.rows.put("swept", "s3", folder="f")
    own, rejection = primary.judged(written("folder", "f", alive=False))
    assert own == []
    assert rejection == Reject("too-many-derived", "This would change too many rows at once.")


# --- changes of the primary's own ----------------------------------------------------------------


def test_derived_changes_become_deltas_of_the_primary(primary):
    primary.rows.put("plain", "old", text="before")
    one = int(PRIMARY)
    own = primary.own(
        derived=[
            derived("plain", "new", Operation.INSERT, S, text="made"),
            derived("plain", "old", Operation.EDIT, S, text="after"),
            derived("plain", "old", Operation.DELETE),
            derived("plain", "old", Operation.RESTORE),
            derived("plain", "nobody", Operation.EDIT, text="lost"),
            derived("plain", "nobody", Operation.DELETE),
        ]
    )
    assert own == [
        RowDelta("plain", RowId("new"), S, (LATER, one, True), {"text": [LATER, one, "made"]}),
        RowDelta("plain", RowId("old"), N, None, {"text": [LATER + 1, one, "after"]}),
        RowDelta("plain", RowId("old"), N, (LATER + 2, one, False), {}),
        RowDelta("plain", RowId("old"), N, (LATER + 3, one, True), {}),
    ]
    assert next(primary.ticks) == LATER + 4, "what does nothing takes no time"


def test_a_derived_change_builds_on_what_stands_before_it(primary):
    primary.rows.put("folder", "f", visits=[0, 5])
    own = primary.own(
        derived=[
            derived("folder", "f", Operation.EDIT, visits={"reset": 1}),
            derived("folder", "f", Operation.EDIT, visits={"add": 3, "epoch": 1}),
            derived("folder", "g", Operation.INSERT, visits={"add": 1}),
        ]
    )
    assert [delta.fields["visits"] for delta in own] == [[1, 0], [1, 3], [0, 1]]


def test_a_flag_that_is_off_already_is_left_out(primary):
    primary.rows.put("loose", "l")
    own = primary.own(derived=[derived("loose", "l", Operation.EDIT, starred={"off": []})])
    assert [dict(delta.fields) for delta in own] == [{}]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            derived("nothing", "x", Operation.INSERT),
            "A derived change names an unknown collection.",
        ),
        (derived("plain", "x", Operation.INSERT, text=7), "A derived change failed: wrong-type"),
        (
            derived("folder", "x", Operation.INSERT, visits={"reset": 2}),
            "A derived change failed: epoch-ahead",
        ),
        (
            derived("plain", "x", Operation.INSERT, colour="red"),
            "A derived change names no field 'colour'",
        ),
    ],
    ids=["collection", "value", "bound", "field"],
)
def test_a_derived_change_that_cannot_be_rejects_all(primary, change, message):
    good = derived("plain", "good", Operation.INSERT, text="x")
    own, rejection = primary.judged(derived=[good, change])
    assert own == []
    assert rejection is not None
    assert rejection.code == "rule-failed"
    assert rejection.message.startswith(message)


def test_derived_changes_are_checked_too(primary):
    primary.rows.put("folder", "f1", code="a")
    change = derived("folder", "f2", Operation.INSERT, code="a")
    assert primary.code(derived=[change]) == "not-unique"
    assert primary.code(derived=[derived("kept", "k", Operation.INSERT, folder="no")]) == (
        "reference-missing"
    )
    primary.rows.put("swept", "s", folder="f1")
    own = primary.own(derived=[derived("folder", "f1", Operation.DELETE)])
    assert [(delta.collection, delta.row) for delta in own] == [("folder", "f1"), ("swept", "s")]


# --- trees ---------------------------------------------------------------------------------------


def test_a_move_that_closes_a_cycle_is_taken_back_and_told(primary):
    primary.rows.put("outline", "a")
    primary.rows.put("outline", "b", under="a")
    primary.rows.put("outline", "c", under="b")
    primary.rows.put("outline", "root")
    primary.rows.put("outline", "d", under="root")
    assert primary.own(written("outline", "c", under="d")) == []
    assert primary.verdict.lost == []
    primary.rows.put("outline", "a", under="root")
    own = primary.own(written("outline", "a", under="c"))
    one = int(PRIMARY)
    assert own == [
        RowDelta("outline", RowId("a"), N, None, {"under": [LATER, one, "root"]}),
    ]
    assert primary.verdict.lost == [
        LostWrite(
            "outline", "a", N, "under", ("root", H, AUTHOR), ("c", LATER - 1, AUTHOR), is_own=True
        )
    ]


def test_a_row_that_was_a_root_becomes_one_again(primary):
    primary.rows.put("outline", "a")
    own = primary.own(written("outline", "a", under="a"))
    assert own[0].fields == {"under": [LATER, int(PRIMARY), None]}
    assert primary.verdict.lost[0].winner == (None, 0, 0)
    primary.rows.put("outline", "a", under=None)
    assert primary.own(written("outline", "a", under="a"))[0].fields["under"][2] is None
    assert primary.verdict.lost[0].winner == (None, H, AUTHOR)
    new = written("outline", "new", alive=True, under="new")
    assert primary.own(new)[0].fields["under"][2] is None


def test_two_moves_of_one_mutation_close_a_cycle(primary):
    primary.rows.put("outline", "a")
    primary.rows.put("outline", "b")
    own = primary.own(written("outline", "a", under="b"), written("outline", "b", under="a"))
    assert [(delta.row, delta.fields["under"][2]) for delta in own] == [("a", None), ("b", None)]


def test_a_move_that_does_not_stand_or_leads_nowhere_is_left(primary):
    primary.rows.put("outline", "a", under=[LATER + 50, AUTHOR, None])
    assert primary.own(written("outline", "a", under="a")) == [], "a later move has won"
    primary.rows.put("outline", "b", under=None)
    primary.rows.put("outline", "c")
    assert primary.own(written("outline", "c", under="unknown")) == []
    assert primary.own(written("outline", "c", under="b")) == []
    assert primary.own(written("outline", "c", under=None)) == []
    assert primary.own(RowDelta("outline", RowId("c"), N, None, {"under": None})) == []
    assert primary.verdict.lost == []
    assert ("outline", [None]) not in primary.rows.loads, "above a root is nothing"


def test_a_cycle_by_the_primary_s_own_change_is_nobody_s_loss(primary):
    primary.rows.put("outline", "a")
    change = derived("outline", "a", Operation.EDIT, under="a")
    own = primary.own(derived=[change])
    assert [delta.fields["under"][2] for delta in own] == ["a", None]
    assert primary.verdict.lost == []


@pytest.mark.parametrize(("rows", "is_taken_back"), [(4, False), (5, True)])
def test_a_chain_that_is_too_long_counts_as_a_cycle(primary, monkeypatch, rows, is_taken_back):
    monkeypatch.setattr(tree_parent, "TREE_DEPTH_MAX", 4)
    for number in range(rows):
        above = {"under": f"r{number - 1}"} if number else {}
        primary.rows.put("outline", f"r{number}", **above)
    primary.rows.put("outline", "x")
    own = primary.own(written("outline", "x", under=f"r{rows - 1}"))
    assert bool(own) is is_taken_back
