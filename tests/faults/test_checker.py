"""The checker notices every planted fault, and has nothing to say about a good history."""

import sqlite3

import pytest

from tests.faults.checker import Final, complaints
from tests.faults.database_files import contents, differences

DELTAS = (5, 7, 11)


def history(*, phone="a"):
    """Return a good history: a site, three visits, a tag, a title, a refused note, a bare count."""
    events = [{"e": "opened", "p": phone, "i": "x", "c": 0}]
    kinds = [("site", 0), *(("count", delta) for delta in DELTAS), ("tag", 0), ("title", 0)]
    kinds += [("shout", 0), ("bare", 3)]
    for counter, (kind, delta) in enumerate(kinds, 1):
        mid = f"{phone}-{counter}"
        what = {"kind": kind, "id": "shared", "mid": mid, "delta": delta}
        events.append({"e": "intent", "p": phone, "i": "x", "c": counter, "what": what})
        events.append({"e": "made", "p": phone, "i": "x", "c": counter, "h": 100 + counter})
    events += [receipt(1, 3), receipt(4, 4, "accepted"), receipt(4, 6), receipt(7, 7, "rejected")]
    events += [receipt(8, 8, "superseded"), receipt(8, 8, "superseded", via="page")]
    return events


def receipt(first, last, outcome="merged", via="push"):
    told = {"e": "receipt", "p": "a", "i": "x", "via": via, "o": outcome}
    return {**told, "c": first, "to": last, "s": last}


def final():
    site = {"title": "a-6", "visits": sum(DELTAS) + 3, "tags": ["a-5"]}
    notes = dict.fromkeys(("a-2", "a-3", "a-4", "a-5", "a-6"), "x")
    return Final(sites={"shared": site}, notes=notes, digests={"north": "00"})


def only(found, *words):
    (complaint,) = found
    assert all(word in complaint for word in words), complaint


def test_a_good_history_is_good():
    assert complaints(history(), {"a": final(), "b": final()}) == []


def test_a_lost_mutation_is_noticed():
    lost = final()
    del lost.notes["a-3"]
    found = complaints(history(), {"a": lost})
    assert any("C1 a count a-3" in line and "missing" in line for line in found)
    assert any("C1 visits of shared" in line for line in found)


def test_a_doubled_counter_is_noticed():
    doubled = final()
    doubled.sites["shared"]["visits"] += 7
    only(complaints(history(), {"a": doubled}), "C1 visits of shared", "33", "26")


def test_a_lost_bare_count_is_noticed():
    lost = final()
    lost.sites["shared"]["visits"] -= 3
    only(complaints(history(), {"a": lost}), "C1 visits of shared")


def test_a_lost_tag_is_noticed():
    lost = final()
    lost.sites["shared"]["tags"] = []
    only(complaints(history(), {"a": lost}), "C1 tag a-5", "missing")


def test_a_title_that_nobody_merged_is_noticed():
    strange = final()
    strange.sites["shared"]["title"] = "a-7"
    only(complaints(history(), {"a": strange}), "C1 title")


def test_a_refused_mutation_in_effect_is_noticed():
    shown = final()
    shown.notes["a-7"] = "SHOUT"
    only(complaints(history(), {"a": shown}), "C1 a shout a-7", "there")


def test_a_changed_outcome_is_noticed():
    events = [*history(), receipt(6, 6, "superseded", via="page")]
    only(complaints(events, {"a": final()}), "C3 a title a-6", "merged", "then superseded")


def test_after_a_forced_promotion_the_last_outcome_counts():
    events = [*history(), receipt(6, 6, "rejected")]
    assert complaints(events, {"a": final()}, is_forced=True) != []
    events.append(receipt(6, 6, "merged"))
    assert complaints(events, {"a": final()}, is_forced=True) == []


@pytest.mark.parametrize("is_accepted", [True, False])
def test_a_mutation_that_is_never_judged_is_noticed(is_accepted):
    events = [event for event in history() if event.get("o") != "rejected"]
    if is_accepted:
        events.append(receipt(7, 7, "accepted"))
    word = "accepted, and then lost" if is_accepted else "never judged"
    only(complaints(events, {"a": final()}), "C2 a shout a-7", word)
    assert complaints(events, {"a": final()}, lost={"a"}) == []


def test_a_receipt_for_nothing_is_noticed():
    only(complaints([*history(), receipt(9, 9)], {"a": final()}), "C3", "counter 9")


def test_an_intent_that_was_killed_is_no_mutation():
    what = {"kind": "note", "id": "shared", "mid": "a-9"}
    intent = {"e": "intent", "p": "a", "i": "x", "c": 9, "what": what}
    opened = {"e": "opened", "p": "a", "i": "x", "c": 8}
    assert complaints([*history(), intent, opened], {"a": final()}) == []
    made = {"e": "opened", "p": "a", "i": "x", "c": 9}
    only(complaints([*history(), intent, made], {"a": final()}), "C2 a note a-9")


def test_renumbered_mutations_are_followed():
    what = {"kind": "note", "id": "shared", "mid": "a-9"}
    events = [
        *history(),
        {"e": "intent", "p": "a", "i": "x", "c": 9, "what": what},
        {"e": "made", "p": "a", "i": "x", "c": 9, "h": 109},
        {"e": "renumbered", "p": "a", "i": "x", "pairs": [[1, 109]]},
        receipt(1, 1, "rejected"),
    ]
    assert complaints(events, {"a": final()}) == []


def test_a_phone_that_is_taken_for_a_copy_is_noticed():
    renumbered = {"e": "renumbered", "p": "a", "i": "y", "pairs": []}
    only(complaints([*history(), renumbered], {"a": final()}), "C5 a", "become y")


def test_phones_that_differ_are_noticed():
    other = final()
    other.digests["north"] = "01"
    only(complaints(history(), {"a": final(), "b": other}), "C4 digests", "north")


def test_a_note_that_nobody_made_is_noticed():
    strange = final()
    strange.notes["z-1"] = "x"
    only(complaints(history(), {"a": strange}), "C1 note z-1")


def test_files_that_differ_are_noticed(tmp_path):
    for name, rows in (("one", [(1, "a")]), ("same", [(1, "a")]), ("other", [(1, "b"), (2, "c")])):
        with sqlite3.connect(tmp_path / name) as connection:
            connection.execute("CREATE TABLE sk_fence (id INTEGER)")
            connection.execute("CREATE TABLE t (id INTEGER, x TEXT)")
            connection.executemany("INSERT INTO t VALUES (?, ?)", rows)
            connection.execute("INSERT INTO sk_fence VALUES (?)", (len(rows),))
        connection.close()
    copies = {name: contents(tmp_path / name) for name in ("one", "same", "other", "gone")}
    assert differences({name: copies[name] for name in ("one", "same")}) == []
    found = differences(copies)
    assert len(found) == 2
    assert "1 rows only in one, 2 only in other" in found[0]
    assert "gone cannot be read" in found[1]
