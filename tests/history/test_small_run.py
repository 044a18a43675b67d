"""A run with real code is clean, has enough of everything in it, and may be kept in a file."""

import hashlib

import msgspec
import pytest

from sync_protocol.digest import row_digest
from sync_protocol.rows import encode_row
from tests.history import story
from tests.history.checker import check
from tests.history.history import History, read
from tests.history.rows import Row
from tests.history.small_run import recorded

FREQUENT = {
    "mutations": 60, "in force": 40, "rejected": 5, "mutations of several rows": 3,
    "mutations seen whole": 20, "mutations shown": 100, "rows replaced": 30, "versions": 100,
    "own writes viewed after a write": 100, "own writes viewed after a sync": 20,
    "earlier mutations looked for": 50, "spaces gained": 5, "opened from clone": 1,
    "opened from backup": 1, "digests given": 30, "phones compared": 5, "rounds after the end": 5,
    "rows read by SQL": 10, "event renumbered": 1, "removals": 1,
}  # fmt: skip
"""What the runs below have at least, all together; a clean report of less would say little."""


async def test_a_run_with_real_code_is_clean(tmp_path):
    totals = dict.fromkeys(FREQUENT, 0)
    for seed in (1, 2):
        folder = tmp_path / str(seed)
        folder.mkdir()
        report = check(await recorded(folder, seed=seed, turns=240))
        assert report.is_clean, f"seed {seed}\n{report}"
        for name in totals:
            totals[name] += report.statistics.get(name, 0)
    assert {n: c for n, c in totals.items() if c < FREQUENT[n]} == {}


async def test_the_same_seed_gives_the_same_history(tmp_path):
    told = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        events = await recorded(tmp_path / name, seed=3, turns=60)
        told.append(hashlib.sha256(msgspec.json.encode(events)).hexdigest())
    assert told[0] == told[1]


def test_a_file_holds_the_same_history_and_a_cut_line_is_left_out(tmp_path):
    path = tmp_path / "history.jsonl"
    events = story.told()
    history = History(path, keeps_events=False)
    for event in events:
        history.add(event)
    history.close()
    assert history.events == []
    assert read(path) == events
    path.write_bytes(path.read_bytes()[:-20])
    assert read(path) == events[:-1]


def test_a_process_that_goes_on_behind_a_cut_line_loses_nothing(tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_bytes(b'{"e":"killed","t":1}\n{"e":"made","p":"a",')
    history = History(path)
    history.add({"e": "opened", "t": 2})
    history.close()
    assert read(path) == [{"e": "killed", "t": 1}, {"e": "opened", "t": 2}]


@pytest.mark.parametrize("told", [story.X9, story.F13, ["c", "é", "s", [1, 2, True], {
    "n": [[2**53 - 1, 0, 0, 0, {"b": 1.5, "a": [None, True, "x" * 300]}]], "m": [-1],
}, 3]])  # fmt: skip
def test_digests_are_those_of_the_protocol(told):
    row = Row(told)
    expected = row_digest(encode_row(told[1], row.alive, told[4]))
    assert row.digest == expected


def test_a_tombstone_adds_nothing_to_a_digest():
    assert Row(story.Y10).digest == 0


async def test_a_primary_that_is_lost_is_excused_what_was_not_replicated(tmp_path):
    events = await recorded(tmp_path, seed=4, turns=160, mishaps=False, is_forced=True)
    report = check(events)
    assert report.is_clean, str(report)
    assert report.statistics["looks of a set-back database"] > 0
