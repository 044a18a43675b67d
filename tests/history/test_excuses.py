"""What is no violation: the same history with what a check excuses in it stays clean."""

from types import SimpleNamespace

import pytest

from tests.history import story
from tests.history.checker import check
from tests.history.checks import monotonic, own_writes
from tests.history.evidence import Evidence
from tests.history.ledger import Ledger
from tests.history.rows import Row
from tests.history.story import ANN, BOB, MADE, at, change, told
from tests.history.tale import REFUSED, Tale
from tests.history.test_checks import confirmed, find, more, put_before


def one_more(events, *, c=5, **facts):
    """Return a mutation of a's that nobody has judged."""
    made = find(events, "made", p="a", c=4)
    changes = [change("item", "x", fields={"best": 1})]
    return {**made, "c": c, "h": at(11), "changes": changes, **facts}


def what_a_lost_phone_never_sent(events):
    quiet = find(events, "quiet")
    put_before(events, quiet, one_more(events))
    put_before(events, quiet, {"e": "lost", "p": "a"})
    for kind in ("final", "again"):
        events.remove(find(events, kind, p="a"))


def an_intent_that_a_kill_has_cut_off(events):
    opened = find(events, "opened", p="b", nth=1)
    intent = {**find(events, "made", p="b", c=3), "e": "intent", "c": 4}
    put_before(events, opened, intent)


def what_a_backup_has_not(events):
    opened = find(events, "opened", p="b", nth=1)
    opened["from"], opened["c"] = "backup", 2
    start = find(events, "confirmed", p="b", why="start", nth=1)
    start["cursor"], start["rows"] = 6, [story.X6, story.Y5]
    start["checkpoint"] = None
    put_before(events, opened, {"e": "killed", "p": "b"})
    put_before(events, find(events, "made", p="b", c=4), confirmed("b", 9, story.X9))


def a_page_that_tells_of_another_copy(events):
    receipt = find(events, "receipt", p="a", c=1)
    put_before(events, find(events, "quiet"), {**receipt, "via": "page", "o": "rejected"})


def a_repair_that_does_not_match_yet(events):
    look = {**confirmed("b", 8), "why": "repair", "s": 9, "mismatched": ["north"]}
    put_before(
        events, find(events, "made", p="b", c=4), {**look, "checkpoint": {"north": "0" * 32}}
    )


def a_tombstone_that_was_collected(events):
    quiet = find(events, "quiet")
    put_before(events, quiet, confirmed("a", 14, gone=[("item", "y")]))
    for event in (find(events, "server", full=True), find(events, "server", node="edge")):
        event["horizon"] = 10
        event["rows"] = [row for row in event["rows"] if row[1] != "y"]
    final = find(events, "final", p="a")
    final["rows"] = [row for row in final["rows"] if row[1] != "y"]


def what_a_restored_database_had_not(events):
    """b's 4 was merged, and the database set back behind it: its rows are gone everywhere."""
    quiet = find(events, "quiet")
    put_before(events, quiet, {"e": "operator", "what": "restore", "node": "node"})
    server = {**find(events, "server", node="node", full=True), "members": []}
    lineage = [["db", 11]]
    rows = [story.X9, story.Y10, story.Z11]
    put_before(
        events, quiet, {**server, "database": "db2", "s": 11, "rows": rows, "lineage": lineage}
    )
    for node in ("node", "edge"):
        last = find(events, "server", node=node, full=True, nth=1 if node == "node" else 0)
        last |= {"database": "db2", "s": 11, "rows": rows, "lineage": lineage}
    outcomes = find(events, "outcomes")
    outcomes["database"] = "db2"
    outcomes["runs"] = [run for run in outcomes["runs"] if run[:2] != [BOB, 4]]
    outcomes["receipts"] = []
    outcomes["devices"][1][3] = 3
    spaces = {"a": {"north": "member", "south": "member"}, "b": {"north": "member"}}
    for p in ("a", "b"):
        held = rows if p == "a" else rows[:2]
        told_digests = {space: _digest(held, space) for space in spaces[p]}
        reset = confirmed(p, 11, *held, gone=[("folder", "f"), ("task", "t")], spaces=spaces[p])
        put_before(events, quiet, {**reset, "database": "db2", "why": "reset"})
        final = find(events, "final", p=p)
        final |= {"database": "db2", "cursor": 11, "spaces": spaces[p], "rows": held}
        final |= {"digests": told_digests, "pending": []}
        final["columns"] = [c for c in final["columns"] if c[0] == "item"]
        if p == "a":
            final["columns"].append(["item", "z", {"title": "zed"}])


def what_an_edge_told_of_that_had_not_heard_of_a_restore(events):
    what_a_restored_database_had_not(events)
    receipt = find(events, "receipt", p="b", c=4)
    restored = events.index(find(events, "operator"))
    events.insert(restored + 1, {**receipt, "via": "page"})
    receipt |= {"o": "accepted", "s": 0}


def what_an_edge_had_read_before_another_was_forced_to_lead(events):
    """b's 4 was read by an edge from a primary that was replaced, and b was told so."""
    what_a_restored_database_had_not(events)
    operator = find(events, "operator")
    operator["what"] = "promote-force"
    edge = {**find(events, "server", full=True), "node": "edge", "role": "edge", "members": []}
    rows = [story.X9, story.Y10, story.Z11, story.F13, story.T14]
    put_before(events, operator, {**edge, "database": "db", "s": 14, "rows": rows, "lineage": []})
    put_before(events, operator, {**find(events, "greeted", p="b"), "replicated": 14})


def an_edge_that_was_set_to_a_backup(events):
    """It held a tombstone, and holds the living row again until it has caught up."""
    server, quiet = find(events, "server", node="edge", full=True), find(events, "quiet")
    put_before(events, quiet, {**server, "s": 11, "rows": [story.X9, story.Y10, story.Z11]})
    put_before(events, quiet, {"e": "operator", "what": "restore", "node": "edge"})
    put_before(events, quiet, {**server, "s": 9, "rows": [story.X9, story.Y5]})


def what_an_edge_had_accepted_of_numbers_that_a_phone_gave_again(events):
    """b's 4 and 5 lie at an edge when b is set back; other 4 and 5 reach the primary first."""
    killed, opened = find(events, "killed", p="b"), find(events, "opened", p="b", nth=1)
    for c in (4, 5):
        put_before(events, killed, one_more(events, p="b", i="i-b", n=BOB, c=c, h=at(20 + c)))
    put_before(events, killed, accepted(events, "b", 4, to=5))
    opened["from"] = "backup"


def accepted(events, p, c, *, to):
    receipt = find(events, "receipt", p=p, c=1)
    return {**receipt, "c": c, "to": to, "o": "accepted", "s": 0}


def told_by_a_replaced_primary(events, outcome):
    """A primary that does not know that it was replaced greets a, judges anew, and is left."""
    quiet, greeted = find(events, "quiet"), find(events, "greeted", p="a")
    receipt = {**find(events, "receipt", p="a", c=1), "via": "push"}
    put_before(events, quiet, {**greeted, "database": "replaced"})
    put_before(events, quiet, {**receipt, "o": outcome})
    put_before(events, quiet, greeted)
    return receipt


def what_a_replaced_primary_told_behind_what_counts(events):
    told_by_a_replaced_primary(events, "rejected")


def _digest(rows, space):
    held = [story.Row(row) for row in rows if row[2] == space]
    return f"{sum(row.digest for row in held) % story.MODULUS:032x}"


def a_time_of_a_phone_that_is_of_another_of_its_writes_at_the_primary(events):
    """a's clock is behind: the primary merges a's 3 under the time that a gives its 4."""
    find(events, "made", p="a", c=3)["h"] = at(4)
    find(events, "made", p="a", c=4)["h"] = at(6)
    for c in (3, 4):
        events.remove(find(events, "judged", n=ANN, c=c))


EXCUSED = [
    a_time_of_a_phone_that_is_of_another_of_its_writes_at_the_primary,
    what_a_lost_phone_never_sent,
    an_intent_that_a_kill_has_cut_off,
    what_a_backup_has_not,
    a_page_that_tells_of_another_copy,
    a_repair_that_does_not_match_yet,
    a_tombstone_that_was_collected,
    what_a_restored_database_had_not,
    what_an_edge_told_of_that_had_not_heard_of_a_restore,
    what_an_edge_had_read_before_another_was_forced_to_lead,
    an_edge_that_was_set_to_a_backup,
    what_an_edge_had_accepted_of_numbers_that_a_phone_gave_again,
    what_a_replaced_primary_told_behind_what_counts,
]


@pytest.mark.parametrize("excused", EXCUSED, ids=lambda case: case.__name__)
def test_what_is_excused_is_no_violation(excused):
    events = told()
    excused(events)
    report = check(events)
    assert report.is_clean, str(report)


@pytest.mark.parametrize(("sequence", "is_excused"), [(14, True), (13, False)])
def test_how_far_an_edge_had_read_may_be_told_without_its_rows(sequence, is_excused):
    events = told()
    what_an_edge_had_read_before_another_was_forced_to_lead(events)
    look = find(events, "server", node="edge", database="db")
    arrived = {"e": "arrived", "node": "edge", "database": "db", "s": sequence}
    put_before(events, look, arrived)
    events.remove(look)
    assert ("H02" not in check(events).checks) is is_excused


@pytest.mark.parametrize("missing", ["edge", "phone"])
def test_what_a_replaced_primary_alone_knew_is_kept_by_its_phone(missing):
    events = told()
    what_an_edge_had_read_before_another_was_forced_to_lead(events)
    if missing == "edge":
        events.remove(find(events, "server", node="edge", database="db"))
    else:
        del find(events, "greeted", p="b", replicated=14)["replicated"]
    assert "H02" in check(events).checks


@pytest.mark.parametrize("weeks", [False, True])
@pytest.mark.parametrize("what", ["set back", "lost"])
def test_what_an_edge_had_accepted_is_lost_if_nothing_else_has_its_number(what, weeks):
    """a's 5 lies at an edge when a is set back, and a writes nothing more.

    After weeks a's session has ended: then the primary refuses it, and nobody sends it again.
    """
    events = told()
    quiet = find(events, "quiet")
    put_before(events, quiet, one_more(events))
    put_before(events, quiet, accepted(events, "a", 5, to=5))
    if weeks:
        put_before(events, quiet, {"e": "fault", "what": "weeks", "weeks": 3})
    if what == "lost":
        put_before(events, quiet, {"e": "lost", "p": "a"})
        for kind in ("final", "again"):
            events.remove(find(events, kind, p="a"))
    else:
        opened = {**find(events, "opened", p="b", nth=1), "p": "a", "person": "ann", "i": "i-a"}
        put_before(events, quiet, {**opened, "n": ANN, "c": 4, "from": "backup"})
    assert list(check(events).checks) == ([] if weeks and what == "set back" else ["H02"])


def test_what_counts_is_compared_with_what_counted_before_a_replaced_primary_told():
    events = told()
    merged = told_by_a_replaced_primary(events, "rejected")
    put_before(events, find(events, "quiet"), merged)
    find(events, "receipt", p="a", c=1)["o"] = "rejected"
    assert set(check(events).checks) == {"H03"}


def test_a_later_write_of_another_may_hide_a_part():
    def resolved(row):
        if row[:2] != ["item", "x"]:
            return row
        return [*row[:4], {**row[4], "title": [at(50), 1, "resolved"]}, *row[5:]]

    report = check(told(patched=resolved, own=[[5, "item", "x", "derived", ANN, 1]]))
    assert report.is_clean, str(report)


def collected_by_a_replaced_primary(events, row, *, sequence):
    """Let another node have led until 14 was replicated, and have dropped a tombstone since."""
    for event in events:
        if event["e"] == "server":
            event["lineage"] = [["former", 14]]
    made = find(events, "made", p="b", c=4)
    look = {**find(events, "server", full=True), "node": "old", "database": "former"}
    look |= {"s": sequence, "lineage": []}
    held = [story.X9, story.Z11, story.F13, story.T14]
    put_before(events, made, {**look, "rows": [*held, row]})
    gone = {"gone": [row[:2]], "horizon": row[5]}
    put_before(events, made, {**look, "rows": held, **gone})


def test_what_a_replaced_primary_has_collected_the_next_one_holds():
    """y comes back in the database that counts, with all that was ever written to it."""
    restored = ["item", "y", "north", [at(10), ANN, True], story.Y5[4], 15]
    events = more(restored, [change("item", "y", "restore")])
    collected_by_a_replaced_primary(events, story.Y10, sequence=14)
    report = check(events)
    assert report.is_clean, str(report)
    assert Tale(events).ledger.collected == {}


def test_what_the_primary_that_counts_has_collected_is_written_anew():
    again = ["item", "y", "north", [at(10), ANN, True], {}, 15]
    events = more(again, [change("item", "y", "insert", space="north")])
    look = {**find(events, "server", full=True), "s": 14, "horizon": 10, "gone": [["item", "y"]]}
    look["rows"] = [story.X9, story.Z11, story.F13, story.T14]
    made = find(events, "made", p="a", c=5)
    put_before(events, made, look)
    for p in ("a", "b"):
        put_before(events, made, confirmed(p, 14, gone=[("item", "y")]))
    report = check(events)
    assert report.is_clean, str(report)
    assert Tale(events).ledger.collected == {("item", "y"): 10}


def test_what_only_a_replaced_primary_had_it_has_collected_alone():
    fields = {"title": "new"}
    row = ["item", "w", "north", [at(10), ANN, True], {"title": [at(10), ANN, "new"]}, 15]
    events = more(row, [change("item", "w", "insert", space="north", fields=fields)])
    dead = [*row[:3], [at(11), ANN, False], row[4], 16]
    collected_by_a_replaced_primary(events, dead, sequence=16)
    report = check(events)
    assert report.is_clean, str(report)
    assert Tale(events).ledger.collected == {}


@pytest.mark.parametrize("is_dropped", [True, False])
def test_a_row_that_is_inserted_again_has_nothing_of_the_one_whose_tombstone_was_dropped(
    is_dropped, monkeypatch
):
    """a wrote a title into y, and deleted it; b inserts y again, and a reads of that alone."""
    monkeypatch.setitem(story.WHEN, ("b", 6), 10)
    monkeypatch.setitem(
        MADE, ("b", 6), [change("item", "y", "insert", space="north", fields={"best": 3})]
    )
    again = ["item", "y", "north", [at(10), BOB, True], {"best": [3]}, 15]

    def tell(tale):
        if is_dropped:
            tale.server(14)
            tale.events[-1] |= {"gone": [["item", "y"]], "horizon": 10}
        tale.confirm("b", 14, gone=[("item", "y")])
        tale.make("b", 6, row=again)
        tale.merge("b", 6, again)
        for p in ("a", "b"):
            tale.confirm(p, 15, again)
            tale.view(p, "sync", again)

    report = check(told(more=tell))
    assert ("H05" in report.checks) is not is_dropped, str(report)
    assert report.is_clean is is_dropped, str(report)


@pytest.mark.parametrize(("counter", "count"), [(3, 9), (4, 10)])
def test_an_intent_counts_when_the_file_has_it(counter, count):
    events = told()
    opened = find(events, "opened", p="b", nth=1)
    put_before(events, opened, {**find(events, "made", p="b", c=3), "e": "intent", "c": 4})
    opened["c"] = counter
    events = events[: events.index(opened) + 1]
    made = sum(1 for event in events if event["e"] == "made")
    assert len(Tale(events).origins) == made + (count - 9)


def test_a_clone_keeps_what_it_copied_and_is_renumbered():
    events = told()
    quiet = find(events, "quiet")
    clone = {"e": "opened", "p": "c", "person": "bob", "i": "i-b", "n": BOB, "c": 3}
    put_before(events, quiet, {**clone, "from": "clone:b"})
    made = {**find(events, "made", p="b", c=4), "p": "c", "h": at(20)}
    put_before(events, quiet, {**made, "changes": MADE["b", 5]})
    renumbered = {"e": "renumbered", "p": "c", "i": "i-c", "n": 0, "pairs": [[1, at(20)]]}
    put_before(events, quiet, {**renumbered, "changes": [MADE["b", 5]]})
    greeted = {**find(events, "greeted", p="b"), "p": "c", "i": "i-c", "n": 7}
    put_before(events, quiet, greeted)
    tale = Tale(events)
    copied = tale.phones["c"].own
    assert [origin.phone for origin in copied] == ["b", "b", "b", "c"]
    claim = tale.phones["c"].queue[1]
    assert (claim.n, claim.c, claim.origin.phone) == (7, 1, "c")
    assert tale.ledger.taken[BOB, 4].origin.phone == "b", "the copy was renumbered away from it"
    assert tale.ledger.taken[7, 1] is claim


@pytest.mark.parametrize(("made_at", "is_passed"), [(40, True), (60, False)])
def test_what_was_judged_before_it_was_made_is_of_a_copy(made_at, is_passed):
    tale = Tale(told())
    tale.phones["b"].through = [(50, BOB, 4, True), (70, BOB, 4, True)]
    claim = SimpleNamespace(ns={BOB}, c=4, index=made_at)
    tale.ledger.taken = {}
    assert tale.was_passed("b", claim, 80) is is_passed


@pytest.mark.parametrize(("shown", "is_right"), [(1, True), (3, True), (2, False)])
def test_additions_of_others_to_a_row_that_nobody_has_may_be_shown_or_not(
    shown, is_right, monkeypatch
):
    """a inserts w and adds 1; b's addition of 2 to a row that nobody has is provisional."""
    monkeypatch.setitem(story.WHEN, ("a", 5), 10)
    monkeypatch.setitem(story.WHEN, ("b", 6), 11)
    first = [change("item", "w", "insert", space="north", fields={"visits": {"add": 1}})]
    monkeypatch.setitem(MADE, ("a", 5), first)
    second = [change("item", "w", fields={"visits": {"add": 2}})]
    monkeypatch.setitem(MADE, ("b", 6), second)
    row = ["item", "w", "north", [at(10), ANN, True], {"visits": [0, 1]}, 0]

    def tell(tale):
        tale.make("b", 6, row=[*row[:4], {"visits": [0, 2]}, 0])
        tale.make("a", 5, row=row)
        seen = [*row[:4], {"visits": [0, shown]}, 0]
        tale.view("a", "sync", seen, pending=True, others=[[BOB, 6]])

    found = [what for what in check(told(more=tell)).violations if what.check.startswith("H20")]
    assert (found == []) is is_right, found


@pytest.mark.parametrize(("is_alive", "is_right"), [(False, True), (True, False)])
def test_a_deletion_of_what_is_not_here_is_shown_to_nobody(is_alive, is_right):
    """b's deletion of a row that a does not hold is provisional: nothing tells of its space."""
    row = ["item", "w", "", [at(10), BOB, is_alive], {}, 0]
    report = check(told(more=lambda tale: tale.view("a", "sync", row, pending=True)))
    assert report.is_clean is is_right, str(report)


@pytest.mark.parametrize(
    ("old", "new", "index", "is_anew"),
    [(9, 11, 6, True), (11, 12, 6, False), (9, 10, 6, False), (9, 11, 5, False)],
)
def test_a_row_that_was_collected_and_inserted_again_is_another_one(old, new, index, is_anew):
    key = ("item", "y")
    ledger = SimpleNamespace(dropped={key: [(5, 10)]})
    rows = [SimpleNamespace(key=key, sequence=sequence) for sequence in (old, new)]
    assert monotonic._is_begun_anew(ledger, rows[0], rows[1], index) is is_anew


@pytest.mark.parametrize(("judged_by", "h"), [("db", at(1)), ("replaced", None)])
def test_the_time_of_what_a_backup_had_is_known_from_the_database_it_was_taken_of(judged_by, h):
    """A restored database judges nothing again that it has, and names no other in its lineage."""
    events = told()
    what_a_restored_database_had_not(events)
    for event in events:
        if event["e"] == "server":
            event["lineage"] = []
    find(events, "made", p="a", c=1)["h"] = at(0)
    find(events, "judged", n=ANN, c=1)["database"] = judged_by
    assert Tale(events).ledger.taken[ANN, 1].h == h


def test_a_write_shows_under_any_time_that_a_primary_gave_it():
    """The one that judged it first, and was replaced, took the phone's clock for wrong."""
    events = told()
    judged = find(events, "judged", n=BOB, c=1)
    put_before(events, judged, {**judged, "h": at(0), "database": "replaced"})
    (origin,) = (o for o in Tale(events).origins if o.changes == MADE["b", 1])
    assert {mark.low for mark in own_writes._marks(origin)} == {at(0)}


@pytest.mark.parametrize(
    ("is_alive", "version", "is_missed"), [(False, 1, False), (False, 2, True), (True, 1, True)]
)
def test_a_dead_row_of_an_older_app_lacks_the_fields_of_a_newer_one(is_alive, version, is_missed):
    """b's 1 is of version 2; somebody holds x without all that it wrote."""
    events = told()
    find(events, "made", p="b", c=1)["v"] = 2
    evidence = Evidence(Tale(events))
    bare = story.Row([*story.X9[:3], [at(20), ANN, is_alive], {}, 9])
    look = SimpleNamespace(is_server=True, rows={bare.key: bare}, version=version, index=10**6)
    answers = evidence.presence.answers((BOB, 1), look)["north"]
    assert (False in answers) is is_missed


def test_a_copy_that_gives_the_same_time_again_is_not_who_was_judged():
    """b, set back, writes another 4 whose clock, which is behind, counts on alike."""
    events = told()
    made = find(events, "made", p="b", c=4)
    put_before(events, find(events, "quiet"), {**made, "changes": [change("item", "x")]})
    assert Tale(events).ledger.taken[BOB, 4].changes == made["changes"]


@pytest.mark.parametrize(("horizon", "is_right"), [(10, True), (None, False)])
def test_additions_of_others_to_a_row_that_a_node_has_dropped_may_be_shown_or_not(
    horizon, is_right, monkeypatch
):
    """a holds y as a tombstone yet; b's addition to it is provisional, and not shown."""
    monkeypatch.setitem(story.WHEN, ("b", 6), 11)
    monkeypatch.setitem(MADE, ("b", 6), [change("item", "y", fields={"visits": {"add": 2}})])

    def tell(tale):
        if horizon is not None:
            tale.server(14)
            tale.events[-1] |= {"gone": [["item", "y"]], "horizon": horizon}
        tale.make("b", 6, row=[*story.Y10[:4], {"visits": [0, 2]}, 0])
        tale.view("a", "sync", [*story.Y10[:4], {}, 0], pending=True, others=[[BOB, 6]])

    found = [what for what in check(told(more=tell)).violations if what.check.startswith("H20")]
    assert (found == []) is is_right, found


@pytest.mark.parametrize(("op", "is_right"), [("restore", True), ("insert", False)])
def test_what_nothing_places_is_not_brought_back(op, is_right):
    events = told()
    placed = {"space": "north"} if op == "insert" else {}
    brought_back = [change("item", "q", op, **placed)]
    quiet = find(events, "quiet")
    put_before(events, quiet, one_more(events, changes=brought_back))
    view = find(events, "view", p="a", of="write")
    nowhere = ["item", "q", "", [0, 0, False], {}, True]
    put_before(events, quiet, {**view, "c": 5, "rows": [nowhere]})
    assert ("H05" not in check(events).checks) is is_right


@pytest.mark.parametrize(
    ("changes", "read", "is_right"),
    [
        ((), 14, False),
        (("member",), 14, True),
        (("member", None), 14, True),
        (("member", None), 16, False),
    ],
)
def test_a_provisional_row_may_come_before_the_round_that_tells_of_its_space(
    changes, read, is_right
):
    """bob is taken into south, and out again: what was under way meanwhile may come to b after."""

    def tell(tale):
        for s, role in enumerate(changes, start=15):
            tale.member("bob", "south", role, s)
        tale.confirm("b", read)
        tale.view("b", "sync", ["item", "q", "south", [at(20), ANN, True], {}, 0], pending=True)

    assert ("H16" not in check(told(more=tell)).checks) is is_right


@pytest.mark.parametrize(("rows_of", "is_known"), [("replaced", True), ("db", False)])
def test_what_a_phone_has_read_of_a_replaced_primary_went_by_its_verdicts(rows_of, is_known):
    tale = SimpleNamespace(rows_of={7: rows_of}, was_passed=lambda *_: True)
    claim = SimpleNamespace(outcome="merged", verdicts={("replaced", "rejected")})
    origin = SimpleNamespace(claims=[claim])
    assert own_writes._is_known_judged(tale, origin, "a", 7, REFUSED) is is_known


FIRST, COPY = 1, 2


@pytest.mark.parametrize(
    ("times", "made", "told", "taken"),
    [
        ((30, 31), (3, 4), (), {FIRST}),  # The primary judged the clock value of one.
        ((30, 30), (3, 9), (), {FIRST}),  # The other gave it again, later than it was judged.
        ((30, 30), (3, 4), (COPY,), {COPY}),  # Both may be meant: one was told what counts.
        ((30, 30), (3, 4), (), {FIRST, COPY}),
        ((31, 32), (3, 4), (COPY,), {COPY}),  # It was judged under a time of the primary's.
        ((31, 32), (3, 4), (), {FIRST, COPY}),
    ],
)
def test_of_two_copies_that_is_taken_which_was_judged_and_told(times, made, told, taken):
    ledger = Ledger()
    ledger.judged(6, {"n": ANN, "c": 5, "h": 30, "s": 9, "o": "merged"})
    claims = {}
    for which, h, index in zip((FIRST, COPY), times, made, strict=True):
        outcomes = [(8, "a", "merged", 9, 0, "", "db", "push")] if which in told else []
        claims[which] = SimpleNamespace(origin=SimpleNamespace(h=h), index=index, told=outcomes)
        claims[which].origin.claims = [claims[which]]
    found = list(map(id, ledger._taken_of((ANN, 5), list(claims.values()))))
    assert {which for which, claim in claims.items() if id(claim) in found} == taken
    claims[COPY].origin.claims = [claims[COPY], "renumbered"]
    found = list(map(id, ledger._taken_of((ANN, 5), list(claims.values()))))
    expected = taken - {COPY} or taken
    assert {which for which, claim in claims.items() if id(claim) in found} == expected


@pytest.mark.parametrize(
    ("bearing", "h"), [(("x", 12), 30), (("y", 12), None), (("x", 9), None), (("x", 13), None)]
)
def test_a_phones_time_is_that_of_its_write_where_its_row_bears_it_in_time(bearing, h):
    """Where clocks have jumped, the primary may have given it to another write of the phone's."""
    name, sequence = bearing
    ledger = Ledger()
    for counter, s in ((1, 9), (2, 12)):
        claim = SimpleNamespace(h=None, s=s, origin=SimpleNamespace(h=28 + counter))
        claim.changes = [change("item", "x", fields={"title": "t"})]
        ledger.taken[ANN, counter] = claim
    row = Row(["item", name, "north", [1, ANN, True], {"title": [30, ANN, "t"]}, sequence])
    ledger._bound(SimpleNamespace(looks=[SimpleNamespace(changed=[row])]))
    assert ledger.taken[ANN, 2].h == h
