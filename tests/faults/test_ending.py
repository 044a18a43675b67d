"""What a run has shown is counted, and a history that cannot be is not passed."""

from tests.faults.ending import counted, judged, taken_for_copies
from tests.faults.survey import app
from tests.history.declaration import tell_app
from tests.history.history import History


def history(*, told="merged"):
    """Return a phone that has made one mutation, which the ledger says was merged."""
    tale = History()
    tell_app(tale, app, now_ms=1)
    visits = {"visits": {"add": 3}}
    change = {"collection": "site", "id": "s", "op": "insert", "space": "x", "fields": visits}
    own = {"t": 1, "p": "a", "i": "one", "n": 7}
    tale.add({"e": "opened", **own, "c": 0, "from": "", "person": "ada"})
    tale.add({"e": "made", **own, "c": 1, "h": 9, "v": 1, "changes": [change]})
    receipt = {"c": 1, "to": 1, "s": 1, "h": 9, "code": "", "conflicts": [{}]}
    tale.add({"e": "receipt", **own, "via": "push", "o": told, **receipt})
    ledger = {"devices": [[7, "ada", "one", 1, 9]], "receipts": [], "runs": [[7, 1, 1, 1]]}
    tale.add({"e": "outcomes", "t": 2, "node": "primary", "database": "d", **ledger})
    return tale.events


def test_what_was_written_and_told_is_counted():
    refused = {"e": "receipt", "c": 2, "to": 3, "o": "rejected", "code": "why", "conflicts": []}
    copied = {"e": "opened", "from": "clone:a"}
    assert counted([*history(), refused, copied]) == {
        "clones": 1,
        "conflicts": 1,
        "insert": 1,
        "merged": 1,
        "mutations": 1,
        "receipts": 3,
        "refused_why": 2,
        "rejected": 2,
        "wrote_visits": 1,
    }


def test_a_history_that_can_be_is_passed():
    found, looked_at = judged(history())
    assert found == []
    assert looked_at["mutations"] == 1


def test_an_outcome_that_the_ledger_does_not_have_is_no_pass():
    found, _ = judged(history(told="rejected"))
    assert any("H03" in text for text in found), found


def opened(phone, installation, came_from=""):
    return {"e": "opened", "p": phone, "i": installation, "from": came_from}


def test_a_phone_that_nobody_has_copied_keeps_its_installation():
    renumbered = {"e": "renumbered", "p": "a", "i": "two"}
    (found,) = taken_for_copies([opened("a", "one"), renumbered])
    assert "a was taken for a copy" in found
    assert taken_for_copies([opened("a", "one"), {**renumbered, "i": "one"}]) == []


def test_copies_and_the_phones_they_were_made_of_may_become_new_ones():
    renumbered = {"e": "renumbered", "p": "a", "i": "two"}
    for copied in (opened("b", "one", "clone:a"), opened("a", "one", "backup")):
        assert taken_for_copies([opened("a", "one"), copied, renumbered]) == []
