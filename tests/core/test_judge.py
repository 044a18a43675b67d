"""The judge: whole mutations, no silent loss, no probing (J1-J3), and what is to be merged."""

from typing import Any

import pytest

from core import (
    Accept,
    Access,
    App,
    Change,
    Collection,
    Counter,
    Custom,
    Derive,
    FirstWrite,
    Flag,
    Lww,
    Max,
    Operation,
    Reject,
)
from core.changes import Mutation
from core.clock import pack, unix_ms
from core.ids import DeviceNumber, MutationCounter, PersonId, RowId, SpaceId
from core.judge import Judge, LostWrite, Verdict
from core.row import RowState

NOW_MS = 1_790_000_000_000
H, RECEIVE_H = pack(unix_ms=NOW_MS), pack(unix_ms=NOW_MS + 9_000)
ANN, BOB, PRIMARY = PersonId("ann"), PersonId("bob"), None
ROLES = {ANN: "lead", BOB: "member"}
ALL = ("lead", "member")
OPEN = Access(read=ALL, insert=ALL, edit=ALL, delete=ALL, restore=ALL)


class Note(Collection, space="team"):
    title = Lww(object)
    price = Lww(int, write=["lead"])
    total = Custom(int, lambda base, ours, theirs: ours + theirs - (base or 0))
    visits = Counter()
    pinned = Flag()
    author = FirstWrite(str)
    best = Max(int, low=0, high=99)
    access = OPEN


class Draft(Collection, space="team", edit_wins=True):
    title = Lww(str)
    access = Access(read=ALL, insert=["lead"], edit=ALL)


def app(*rules):
    made = App("notes", version=1, spaces={"team": ALL})
    made.add(Note, Draft)
    for rule in rules:
        made.rule(Note)(rule)
    return made


def change(operation=Operation.EDIT, fields=None, *, row="r1", declared: Any = Note, **options):
    parsed = {name: declared.fields[name].parse(raw) for name, raw in (fields or {}).items()}
    return Change(
        declared.collection_name, RowId(row), operation, SpaceId("north"), parsed,
        proposals=declared.fields, **options,
    )  # fmt: skip


def state(fields=None, *, row="r1", space="north", alive=(1, 5, True)):
    return RowState(RowId(row), SpaceId(space), 3, alive, fields or {})


def judged(*changes, before=None, person: Any = ANN, judge=None, device=7, asked=None):
    """Judge one mutation of device 7; `before` is the row r1, or nothing."""

    def role_in(who, space, kind):
        if asked is not None:
            asked.append((who, space, kind))
        return ROLES.get(who)

    befores = {}
    if before is not None:
        for name in ("note", "draft"):
            befores[name, before.id] = before
    mutation = Mutation(DeviceNumber(device), MutationCounter(4), H, changes)
    return (judge or Judge(app())).judge(mutation, person, role_in, befores, RECEIVE_H)


def code(*changes, **options):
    rejection = judged(*changes, **options).rejection
    return None if rejection is None else rejection.code


def fields_of(verdict):
    assert verdict.rejection is None
    return [delta.fields for delta in verdict.deltas]


def test_an_insert_becomes_the_delta_of_a_living_row():
    asked = []
    verdict = judged(change(Operation.INSERT, {"title": "x"}), asked=asked)
    (delta,) = verdict.deltas
    assert delta == ("note", "r1", "north", (H, 7, True), {"title": [H, 7, "x"]})
    assert (verdict.lost, verdict.derived, verdict.is_superseded) == ([], [], False)
    assert asked == [(ANN, "north", "team")]


@pytest.mark.parametrize(
    ("operation", "alive"),
    [
        (Operation.EDIT, None),
        (Operation.INSERT, (H, 7, True)),
        (Operation.RESTORE, (H, 7, True)),
        (Operation.DELETE, (H, 7, False)),
    ],
)
def test_all_operations_but_edits_write_whether_the_row_lives(operation, alive):
    (delta,) = judged(change(operation), before=state()).deltas
    assert delta.alive == alive


def test_first_writes_carry_the_time_of_their_receipt_and_others_their_authors():
    (fields,) = fields_of(judged(change(fields={"author": "a", "title": "b"}), before=state()))
    assert fields == {"author": [RECEIVE_H, 7, "a"], "title": [H, 7, "b"]}


def test_a_field_that_comes_to_nothing_is_left_out_and_the_next_is_not():
    written = change(fields={"pinned": {"off": [[2, 9]]}, "title": "b"})
    assert fields_of(judged(written, before=state())) == [{"title": [H, 7, "b"]}]


def test_what_is_stored_decides_what_a_field_admits():
    before = state({"pinned": [[2, 3, 0]], "visits": [0, 2**53 - 1]})
    off = change(fields={"pinned": {"off": [[2, 9]]}})
    assert fields_of(judged(off, before=before)) == [{"pinned": [[2, 0, 3]]}]
    rejection = judged(change(fields={"visits": {"add": 1}}), before=before).rejection
    assert rejection is not None
    assert (rejection.code, rejection.fields) == ("out-of-range", ("visits",))


def test_a_mutation_is_accepted_whole_or_not_at_all():
    """J1; an edit sees what the change before it has done."""
    insert, edit = change(Operation.INSERT, {"title": "x"}), change(fields={"visits": {"add": 2}})
    verdict = judged(insert, edit)
    assert fields_of(verdict) == [{"title": [H, 7, "x"]}, {"visits": [0, 2]}]
    assert not verdict.is_under_tombstone
    refused = judged(insert, change(row="r2"))
    assert refused.rejection is not None
    assert refused.rejection.code == "row-missing"
    assert (refused.deltas, refused.lost, refused.derived) == ([], [], [])


def test_changes_of_one_row_in_one_mutation_follow_each_other():
    before = state({"visits": [0, 2**53 - 3], "title": [1, 5, "old"]})
    one = change(fields={"visits": {"add": 1}})
    assert code(one, one, before=before) is None
    assert code(one, one, one, before=before) == "out-of-range"
    title, spent = change(fields={"title": "x"}), state({"visits": [0, 2**53 - 2]})
    assert code(title, one, before=spent) is None
    assert code(title, one, one, before=spent) == "out-of-range"
    deleted = judged(change(Operation.DELETE), change(fields={"title": "x"}), before=before)
    assert deleted.is_under_tombstone
    other = judged(one, change(Operation.INSERT, row="r2"), one, before=before)
    assert [delta.row for delta in other.deltas] == ["r1", "r2", "r1"]


def test_rows_that_are_not_there_or_elsewhere():
    assert code(change()) == "row-missing"
    assert code(change(Operation.INSERT), before=state(space="south")) == "row-exists"
    assert code(change(Operation.INSERT), before=state()) is None
    asked = []
    assert code(change(), before=state(space="south"), asked=asked) is None
    assert asked == [(ANN, "south", "team")], "the row's own space counts"


def test_strangers_get_one_answer_whether_the_row_is_there():
    """J3."""
    answers = [
        judged(change(operation), before=before, person=PersonId("eve")).rejection
        for operation in (Operation.EDIT, Operation.DELETE, Operation.RESTORE)
        for before in (None, state(), state(space="south"))
    ]
    assert {answer.code for answer in answers if answer is not None} == {"row-missing"}
    assert len(set(answers)) == 1


def test_roles_and_fields_are_asked_for_each_person_and_operation():
    judge = Judge(app())
    for _ in range(2):
        assert code(change(fields={"price": 3}), before=state(), judge=judge) is None
        denied = judged(
            change(fields={"title": "x", "price": 3}), before=state(), person=BOB, judge=judge
        ).rejection
        assert denied is not None
        assert (denied.code, denied.fields) == ("field-forbidden", ("price",))
        written = change(fields={"title": "x"})
        assert code(written, before=state(), person=BOB, judge=judge) is None
        insert = change(Operation.INSERT, {"title": "x"}, declared=Draft)
        assert code(insert, judge=judge) is None
        assert code(insert, person=BOB, judge=judge) == "forbidden"
        delete = change(Operation.DELETE, declared=Draft)
        assert code(delete, before=state(), judge=judge) == "forbidden"


def test_the_primary_is_asked_nothing():
    judge = Judge(app(lambda *_: Reject("never", "Never.")))
    asked = []
    assert code(change(), before=state(), person=PRIMARY, judge=judge, asked=asked) is None
    assert asked == []
    assert code(change(), before=state(), judge=judge) == "never"


def test_rules_see_who_asks_the_row_and_the_change():
    seen = []

    def look(actor, before, asked_change):
        seen.append((actor, before.title, before.is_alive, asked_change.title))

    judge = Judge(app(look))
    judged(change(fields={"title": "new"}), before=state({"title": [1, 5, "old"]}), judge=judge)
    judged(change(Operation.INSERT, {"title": "new"}), person=BOB, judge=judge)
    taken = state({"title": [1, 5, "secret"]}, space="south")
    assert code(change(Operation.INSERT, {"title": "new"}), before=taken, judge=judge) == (
        "row-exists"
    )
    actors = [(actor.person, actor.role, actor.device, actor.at_unix_ms) for actor, *_ in seen]
    assert actors[:2] == [(ANN, "lead", 7, NOW_MS), (BOB, "member", 7, NOW_MS)]
    assert [rest for _, *rest in seen] == [
        ["old", True, "new"],
        [None, False, "new"],
        [None, False, "new"],
    ], "a rule never sees a row of another space"
    assert unix_ms(H) == NOW_MS


class Nameless:
    """A rule that is no function, and fails."""

    def __call__(self, *_):
        raise ValueError


def failing(*_):
    raise KeyError


@pytest.mark.parametrize(
    ("rules", "rejection"),
    [
        ([lambda *_: None, lambda *_: Accept()], None),
        ([lambda *_: Accept(), lambda *_: Reject("second", "No.")], "second"),
        ([lambda *_: Reject("first", "No."), lambda *_: Reject("second", "No.")], "first"),
        ([lambda *_: 1 / 0], "rule-failed"),
        ([Nameless()], "rule-failed"),
        ([lambda *_: "yes"], "rule-failed"),
        ([lambda *_: Derive(), lambda *_: Reject("second", "No.")], "second"),
    ],
)
def test_the_first_rule_that_rejects_decides(rules, rejection):
    assert code(change(), before=state(), judge=Judge(app(*rules))) == rejection


def test_a_rule_that_fails_is_named():
    for rule, words in ((Nameless(), "rule failed: ValueError"), (failing, "failing failed")):
        rejection = judged(change(), before=state(), judge=Judge(app(rule))).rejection
        assert rejection is not None
        assert rejection.message.startswith(words)


def test_what_rules_derive_is_kept_in_order():
    one, two = change(fields={"title": "1"}), change(fields={"title": "2"})
    judge = Judge(app(lambda *_: Derive((one,)), lambda *_: Derive((two,))))
    assert judged(change(), before=state(), judge=judge).derived == [one, two]


def lost(written, *, stored, device=7, **options):
    before = state({"title": stored})
    verdict = judged(change(fields={"title": written}, **options), before=before, device=device)
    return verdict.lost, verdict.is_superseded


def test_of_two_writes_that_had_not_seen_each_other_the_loser_is_kept():
    """J2."""
    mine, theirs = ("mine", H, 7), ("theirs", H + 1, 5)
    assert lost("mine", stored=[H + 1, 5, "theirs"]) == (
        [LostWrite("note", "r1", "north", "title", theirs, mine, is_own=True)],
        True,
    )
    theirs = ("theirs", H - 1, 5)
    assert lost("mine", stored=[H - 1, 5, "theirs"]) == (
        [LostWrite("note", "r1", "north", "title", mine, theirs, is_own=False)],
        False,
    )


@pytest.mark.parametrize(
    ("written", "stored", "base", "is_lost"),
    [
        ("mine", [9, 5, "theirs"], {}, True),
        ("mine", [9, 5, "theirs"], {"title": 9}, False),
        ("mine", [9, 5, "theirs"], {"title": 8}, True),
        ("mine", [9, 5, "theirs"], {"price": 9}, True),
        ("mine", [9, 7, "mine before"], {}, False),
        ("same", [9, 5, "same"], {}, False),
        (1, [9, 5, True], {}, True),
        (0, [9, 5, 0], {}, False),
    ],
)
def test_what_was_seen_or_is_ones_own_or_is_equal_is_no_loss(written, stored, base, is_lost):
    assert bool(lost(written, stored=stored, base=base)[0]) is is_lost


def test_a_write_before_any_other_was_seen_has_the_base_zero():
    before = state({"title": [0, 5, "unstamped"]})
    assert judged(change(fields={"title": "mine"}), before=before).lost == []


def test_concurrent_writes_of_a_custom_field_are_resolved_by_a_change_of_the_primarys():
    written = change(fields={"total": {"base": 10, "value": 15}})
    verdict = judged(written, before=state({"total": [9, 5, 12]}))
    (resolved,) = verdict.derived
    assert resolved == Change(
        "note", RowId("r1"), Operation.EDIT, SpaceId("north"), {"total": {"base": 15, "value": 17}}
    )
    assert [(item.winner, item.loser) for item in verdict.lost] == [((15, H, 7), (12, 9, 5))]
    seen = change(fields={"total": {"base": 10, "value": 15}}, base={"total": 9})
    assert judged(seen, before=state({"total": [9, 5, 12]})).derived == []


def test_registers_alone_lose():
    before = state({"pinned": [[2, 3, 0]], "title": [9, 5, "x"]})
    assert judged(change(fields={"pinned": {"on": True}}), before=before).lost == []
    lower = change(fields={"best": 3})
    assert judged(lower, before=state({"best": [9]})).lost == []


@pytest.mark.parametrize(("epoch", "is_lost"), [(1, True), (2, False)])
def test_a_count_of_a_closed_epoch_is_told(epoch, is_lost):
    written = change(fields={"visits": {"add": 4, "epoch": epoch}})
    verdict = judged(written, before=state({"visits": [2, 1]}))
    entry = LostWrite("note", "r1", "north", "visits", ([2, 1], 0, 0), ([1, 4], H, 7), is_own=True)
    assert verdict.lost == ([entry] if is_lost else [])
    assert judged(change(fields={"visits": {"add": 4}}), before=state()).lost == []


@pytest.mark.parametrize(
    ("seen", "alive", "declared", "is_under", "is_revived"),
    [
        (0, (9, 5, True), Note, False, False),
        (0, (9, 5, False), Note, True, False),
        (9, (9, 5, False), Note, True, False),
        (0, (9, 5, True), Draft, False, False),
        (0, (9, 5, False), Draft, False, True),
        (5, (9, 5, False), Draft, False, True),
        (9, (9, 5, False), Draft, True, False),
    ],
)
def test_edits_under_a_tombstone(seen, alive, declared, is_under, is_revived):
    """Where edits win, one that had not seen the delete revives the row."""
    verdict = judged(
        change(fields={"title": "x"}, declared=declared, seen=seen), before=state(alive=alive)
    )
    assert verdict.is_under_tombstone is verdict.is_superseded is is_under
    revived = [Change("draft", RowId("r1"), Operation.RESTORE, SpaceId("north"))]
    assert verdict.derived == (revived if is_revived else [])


def test_a_verdict_is_superseded_by_own_losses_alone():
    def entry(*, is_own):
        return LostWrite("note", "r1", "north", "title", ("a", 2, 1), ("b", 1, 1), is_own=is_own)

    verdict = Verdict()
    assert (verdict.rejection, verdict.is_superseded) == (None, False)
    verdict.lost = [entry(is_own=False)]
    assert verdict.is_superseded is False
    verdict.is_under_tombstone = True
    assert verdict.is_superseded is True
    verdict.is_under_tombstone = False
    verdict.lost.append(entry(is_own=True))
    assert verdict.is_superseded is True
    reject = Reject("no", "No.")
    assert Verdict(rejection=reject).rejection is reject
