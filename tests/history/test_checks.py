"""Every check finds what it is for: one thing is broken in the story, and the checks named say so.

Each case names exactly the checks that report. Where a mistake cannot show in one way only, the
others are named too.
"""

import pytest

from tests.history import story
from tests.history.checker import check
from tests.history.checks import CHECKS
from tests.history.story import ANN, BOB, MADE, WHEN, at, change, told

FOLDER = ["folder", "g", "north", [at(10), ANN, True], {"name": [at(10), ANN, "g"]}, 15]
TASK = ["task", "u", "north", [at(10), ANN, True], {"folder": [at(10), ANN, "gone"]}, 15]


def find(events, kind, nth=0, **facts):
    """Return the nth event of a kind with these facts."""
    found = [e for e in events if e["e"] == kind and all(e.get(k) == v for k, v in facts.items())]
    return found[nth]


def put_before(events, event, new):
    events.insert(next(i for i, e in enumerate(events) if e is event), {"t": event["t"], **new})


def confirmed(p, cursor, *rows, gone=(), spaces=None, **facts):
    """An additional state of a phone, without a checkpoint."""
    return {
        "e": "confirmed", "p": p, "database": "db", "cursor": cursor, "why": "poke",
        "spaces": spaces or {"north": "member"}, "rows": list(rows),
        "gone": [list(key) for key in gone], "checkpoint": None, **facts,
    }  # fmt: skip


def x_with(changed, *, since=6):
    """A mistake of the engine: item x has other states from a sequence on."""

    def patched(row):
        if row[:2] != ["item", "x"] or len(row) < 6 or row[5] < since:
            return row
        states = {**row[4], **changed}
        if row[4]["title"][2] == "never":
            states["title"] = row[4]["title"]  # It is pending: the phone has folded it on top.
        return [*row[:4], states, *row[5:]]

    return told(patched=patched)


def more(row, payload, **facts):
    """One more mutation of a's, merged to a row of sequence 15."""

    def tell(tale):
        MADE["a", 5], WHEN["a", 5] = payload, 10
        try:
            tale.make("a", 5, row=row)
            tale.merge("a", 5, row)
            tale.confirm("a", 15, row)
            tale.confirm("b", 15, row)
        finally:
            del MADE["a", 5], WHEN["a", 5]

    return told(more=tell, **facts)


# --- H01 -----------------------------------------------------------------------------------------


def an_edge_differs_in_metadata(events):
    row = find(events, "server", node="edge")["rows"][0]
    row[4]["title"][0] += 1


def a_phone_does_not_know_a_space(events):
    final = find(events, "final", p="b")
    final["spaces"] = {}
    final["rows"], final["columns"], final["digests"] = [], [], {}


def a_phone_tells_no_end(events):
    events.remove(find(events, "final", p="a"))


# --- H02 -----------------------------------------------------------------------------------------


def a_kill_loses_a_mutation(events):
    find(events, "opened", p="b", nth=1)["c"] = 2


def a_phone_has_read_past_what_it_does_not_show(events):
    look = find(events, "confirmed", p="a", cursor=14)
    look["rows"], look["checkpoint"] = [], None


def an_edge_loses_what_it_accepted(events):
    made = find(events, "made", p="a", c=4)
    quiet = find(events, "quiet")
    new = {**made, "c": 5, "h": at(11), "changes": [change("item", "x", fields={"best": 1})]}
    put_before(events, quiet, new)
    receipt = {**find(events, "receipt", p="a", c=1), "c": 5, "to": 5, "o": "accepted", "s": 0}
    put_before(events, quiet, receipt)
    put_before(events, quiet, {"e": "lost", "p": "a"})
    for kind in ("final", "again"):
        events.remove(find(events, kind, p="a"))


def a_mutation_is_never_judged(events):
    made = find(events, "made", p="a", c=4)
    new = {**made, "c": 5, "h": at(11), "changes": [change("item", "x", fields={"best": 1})]}
    put_before(events, find(events, "quiet"), new)


# --- H03 -----------------------------------------------------------------------------------------


def two_outcomes(events):
    receipt = find(events, "receipt", p="a", c=1)
    put_before(events, find(events, "quiet"), {**receipt, "o": "rejected", "via": "push"})


def the_ledger_says_otherwise(events):
    outcomes = find(events, "outcomes")
    outcomes["receipts"].append([ANN, 3, "rejected", 10, at(6), "no"])
    outcomes["runs"] = [run for run in outcomes["runs"] if run[:2] != [ANN, 3]]


def a_mutation_that_nobody_made(events):
    outcomes = find(events, "outcomes")
    outcomes["runs"].append([ANN, 5, 5, 14])


def a_receipt_for_nothing(events):
    receipt = find(events, "receipt", p="a", c=1)
    put_before(events, find(events, "quiet"), {**receipt, "c": 9, "to": 9})


def two_mutations_under_one_identity(events):
    made, receipt = find(events, "made", p="b", c=4), find(events, "receipt", p="b", c=4)
    clone = {"e": "opened", "p": "c", "person": "bob", "i": "i-b", "n": BOB, "c": 3}
    other = {**made, "p": "c", "h": at(11), "changes": [change("item", "x", fields={"best": 1})]}
    for event in ({**clone, "from": "clone:b"}, other, {**receipt, "p": "c"}):
        put_before(events, find(events, "quiet"), event)
    put_before(events, find(events, "quiet"), {"e": "lost", "p": "c"})


def one_mutation_under_two_identities(events):
    quiet = find(events, "quiet")
    renumbered = {"e": "renumbered", "p": "b", "i": "i-c", "n": 0, "pairs": [[1, at(4)]]}
    put_before(events, quiet, {**renumbered, "changes": [MADE["b", 2]]})
    put_before(events, quiet, {**find(events, "greeted", p="b"), "i": "i-c", "n": 4})
    outcomes = find(events, "outcomes")
    outcomes["devices"].append([4, "bob", "i-c", 1, at(99)])
    outcomes["runs"].append([4, 1, 1, 8])


# --- H04 to H07 ----------------------------------------------------------------------------------


def half_a_mutation_at_a_phone(events):
    put_before(events, find(events, "confirmed", p="a", cursor=14), confirmed("a", 13, story.F13))


def half_a_mutation_at_an_edge(events):
    told_by_edge = {**find(events, "server", s=14), "node": "edge", "role": "edge", "members": []}
    rows = [story.X9, story.Y10, story.Z11, story.F13]
    put_before(events, find(events, "quiet"), {**told_by_edge, "s": 13, "rows": rows})


def a_write_is_not_shown(events):
    view = find(events, "view", p="a", of="write", c=2)
    view["rows"][0][4]["tags"] = [["red", ANN, 1, 0]]


def a_write_is_not_shown_later(events):
    find(events, "view", p="a", of="sync", nth=1)["rows"][0][4]["log"] = []


def a_row_just_written_is_not_there(events):
    view = find(events, "view", p="b", of="write", c=4)
    view["rows"], view["gone"] = [], [["folder", "f"]]


def a_row_goes_back(events):
    start = find(events, "confirmed", p="b", why="start", full=True, nth=1)
    put_before(events, start, confirmed("b", 8, story.X6))
    put_before(events, start, confirmed("b", 8, story.X8))


def a_cursor_goes_back(events):
    put_before(events, find(events, "confirmed", p="b", why="start", nth=1), confirmed("b", 7))


def a_living_row_goes(events):
    start = find(events, "confirmed", p="b", why="start", nth=1)
    put_before(events, start, confirmed("b", 8, gone=[("item", "y")]))
    put_before(events, start, confirmed("b", 8, story.Y5))


def a_kill_loses_confirmed_rows(events):
    start = find(events, "confirmed", p="b", why="start", nth=1)
    start["rows"] = [story.X6, story.Y5]
    start["checkpoint"] = None


def later_before_earlier(events):
    look = find(events, "confirmed", p="a", cursor=11)
    look["checkpoint"] = find(events, "confirmed", p="a", cursor=12)["checkpoint"] = None
    put_before(
        events, look,
        confirmed("a", 7, story.F13, story.T14, spaces={"north": "member", "south": "member"}),
    )  # fmt: skip


def clocks_of_a_device_fall(events):
    find(events, "judged", n=BOB, c=2)["h"] = at(5)


# --- H08 to H11: the engine's mistakes -----------------------------------------------------------

NOT_SEEN = [[ANN, 1, 1, 0, None], [BOB, 1, 1, 0, None]]
MISTAKES = [
    ("an addition counts twice", x_with({"visits": [0, 8]}, since=8), {"H08"}),
    ("an addition is missing", x_with({"visits": [0, 2]}, since=8), {"H08"}),
    ("an epoch comes from nowhere", x_with({"visits": [1, 5]}, since=8), {"H08"}),
    (
        "more is used than granted",
        x_with({"stock": [[ANN, 5, 0, 0, 0], [BOB, 0, 3, 4, 99]]}, since=9),
        {"H09"},
    ),
    (
        "more is granted than there is",
        x_with({"stock": [[ANN, 5, 0, 0, 0], [BOB, 0, 6, 2, 99]]}, since=9),
        {"H09"},
    ),
    (
        "a use counts twice",
        x_with({"stock": [[ANN, 9, 0, 0, 0], [BOB, 0, 4, 4, 99]]}, since=9),
        {"H09"},
    ),
    ("a remove is dropped", x_with({"tags": [["blue", ANN, 2, 0], ["red", ANN, 1, 0]]}, since=7),
     {"H06", "H10"}),
    ("a remove takes an unseen tag", x_with(
        {"tags": [["blue", ANN, 2, 2], ["red", ANN, 1, 1]]}, since=7), {"H10"}),
    ("a switch stays on", x_with({"on": [[ANN, 1, 0]]}), {"H10"}),
    ("an unseen value is gone", x_with({"remark": NOT_SEEN}), {"H10"}),
    ("a value nobody wrote", x_with({"title": [at(2), BOB, "TWO"]}), {"H11"}),
    ("a flag where a number was written", x_with({"labels": [["k", at(3), ANN, 0, True]]}, since=7),
     {"H11"}),
    ("a maximum nobody wrote", x_with({"best": [11]}), {"H11"}),
    ("a label nobody wrote", x_with({"status": [1, 0]}), {"H11"}),
    ("the original is replaced", x_with({"origin": [at(1), ANN, "eve"]}), {"H11"}),
    ("an entry at another time", x_with({"log": [[at(9), ANN, 2, 0, "hello"]]}, since=7), {"H11"}),
    ("an entry twice", x_with(
        {"log": [[at(3), ANN, 2, 0, "hello"], [at(3), ANN, 2, 1, "hello"]]}, since=7), {"H11"}),
    ("a second row has the name", more(
        [*FOLDER[:4], {"name": [at(10), ANN, "f"]}, 15],
        [change("folder", "g", "insert", space="north", fields={"name": "f"})]), {"H12"}),
    ("a reference to nothing", more(
        TASK, [change("task", "u", "insert", space="north", fields={"folder": "gone"})]), {"H13"}),
    ("a folder in itself", more(
        [*FOLDER[:4], {"parent": [at(10), ANN, "g"]}, 15],
        [change("folder", "g", "insert", space="north", fields={"parent": "g"})]), {"H14"}),
    ("the primary revives a row", more(
        ["item", "y", "north", [at(11), 1, True],
         {**story.Y5[4], "best": [3]}, 15], [change("item", "y", fields={"best": 3})],
        own=[[15, "item", "y", "derived", ANN, 5]]), {"H15"}),
    ("an edit revives a row", more(
        ["item", "y", "north", [at(10), ANN, True],
         {**story.Y5[4], "best": [3]}, 15], [change("item", "y", fields={"best": 3})]),
     {"H11", "H15"}),
]  # fmt: skip


# --- H16 to H19 ----------------------------------------------------------------------------------


def a_phone_keeps_a_space_it_left(events):
    find(events, "confirmed", p="a", cursor=12)["gone"] = []


def a_phone_has_a_space_it_is_not_in(events):
    made = find(events, "made", p="b", c=4)
    put_before(events, made, confirmed("b", 8, spaces={"north": "member", "south": "member"}))


def a_phone_has_rows_before_its_time(events):
    made = find(events, "made", p="b", c=4)
    put_before(events, made, confirmed("b", 8, story.Z11))
    put_before(events, made, confirmed("b", 8, gone=[("item", "z")]))


def a_role_reads_too_much(events):
    find(events, "app")["read"]["task"] = ["lead"]


def a_view_leaks(events):
    find(events, "view", p="b", of="write", c=4)["rows"].append([*story.Z11[:5], True])


def a_checkpoint_does_not_match(events):
    look = find(events, "confirmed", p="b", cursor=6)
    look["checkpoint"]["north"] = "0" * 32


def a_mismatch_is_not_excused_in_a_round(events):
    a_checkpoint_does_not_match(events)
    find(events, "confirmed", p="b", cursor=6)["mismatched"] = ["north"]


def running_digests_are_wrong(events):
    for p in ("a", "b"):
        find(events, "final", p=p)["digests"]["north"] = "1" * 32


def something_is_pushed_again(events):
    find(events, "again", p="b")["pushed"] = 1


def something_has_no_outcome(events):
    find(events, "final", p="b")["pending"] = [5]


def rows_move_after_the_end(events):
    put_before(
        events, find(events, "again", p="b"),
        confirmed("b", 14, [*story.X9[:5], 9], why="round", gone=[], s=1),
    )  # fmt: skip
    find(events, "again", p="b")["rows"] = 1


def the_primary_goes_on(events):
    last = find(events, "server", node="node", full=True)
    events.append({**last, "s": 15, "full": False, "rows": [], "t": 0})


def sql_shows_something_else(events):
    find(events, "final", p="b")["columns"][0][2]["visits"] = 6


def sql_misses_a_row(events):
    find(events, "final", p="b")["columns"].pop()


def a_pending_addition_counts_twice(events):
    find(events, "view", p="b", of="write", c=1)["rows"][0][4]["visits"] = [0, 8]


def a_confirmed_addition_counts_twice(events):
    find(events, "view", p="a", of="sync")["rows"][0][4]["visits"] = [0, 4]


def a_provisional_addition_is_not_shown(events):
    find(events, "view", p="a", of="write", c=2)["others"] = [[BOB, 1]]


BROKEN = [
    (an_edge_differs_in_metadata, {"H01"}),
    (a_phone_does_not_know_a_space, {"H01"}),
    (a_phone_tells_no_end, {"H01"}),
    (a_kill_loses_a_mutation, {"H02"}),
    (a_phone_has_read_past_what_it_does_not_show, {"H02"}),
    (an_edge_loses_what_it_accepted, {"H02"}),
    (a_mutation_is_never_judged, {"H02"}),
    (two_outcomes, {"H03"}),
    (the_ledger_says_otherwise, {"H03", "H11"}),
    (a_mutation_that_nobody_made, {"H03"}),
    (a_receipt_for_nothing, {"H03"}),
    (one_mutation_under_two_identities, {"H03"}),
    (two_mutations_under_one_identity, {"H03"}),
    (half_a_mutation_at_a_phone, {"H04"}),
    (half_a_mutation_at_an_edge, {"H04"}),
    (a_write_is_not_shown, {"H05"}),
    (a_write_is_not_shown_later, {"H05"}),
    (a_row_just_written_is_not_there, {"H05"}),
    (a_row_goes_back, {"H06"}),
    (a_cursor_goes_back, {"H06"}),
    (a_living_row_goes, {"H06"}),
    (a_kill_loses_confirmed_rows, {"H06"}),
    (later_before_earlier, {"H07"}),
    (clocks_of_a_device_fall, {"H07"}),
    (a_phone_keeps_a_space_it_left, {"H16"}),
    (a_phone_has_a_space_it_is_not_in, {"H16"}),
    (a_phone_has_rows_before_its_time, {"H16"}),
    (a_role_reads_too_much, {"H01", "H16"}),
    (a_view_leaks, {"H16"}),
    (a_checkpoint_does_not_match, {"H17"}),
    (a_mismatch_is_not_excused_in_a_round, {"H17"}),
    (running_digests_are_wrong, {"H17"}),
    (something_is_pushed_again, {"H18"}),
    (something_has_no_outcome, {"H18"}),
    (rows_move_after_the_end, {"H18"}),
    (the_primary_goes_on, {"H18"}),
    (sql_shows_something_else, {"H19"}),
    (sql_misses_a_row, {"H19"}),
    (a_pending_addition_counts_twice, {"H20"}),
    (a_confirmed_addition_counts_twice, {"H20"}),
    (a_provisional_addition_is_not_shown, {"H20"}),
]


@pytest.mark.parametrize(
    ("broken", "expected"), BROKEN, ids=lambda case: getattr(case, "__name__", "")
)
def test_a_broken_history_is_found(broken, expected):
    events = told()
    broken(events)
    report = check(events)
    assert set(report.checks) == expected, str(report)


@pytest.mark.parametrize(
    ("name", "events", "expected"), MISTAKES, ids=[name for name, *_ in MISTAKES]
)
def test_a_mistake_of_the_engine_is_found(name, events, expected):
    report = check(events)
    assert set(report.checks) == expected, str(report)


def test_every_check_is_the_only_one_to_report_something():
    alone = {next(iter(found)) for _, found in BROKEN if len(found) == 1}
    alone |= {next(iter(found)) for *_, found in MISTAKES if len(found) == 1}
    assert alone == {module.NAME.split()[0] for module in CHECKS}


def test_more_than_enough_violations_are_counted():
    def everywhere(row):
        return (
            [*row[:4], {**row[4], "visits": [0, 99]}, *row[5:]] if row[:2] == ["item", "x"] else row
        )

    report = check(told(patched=everywhere))
    assert not report.is_clean
    assert "H08" in str(report)
