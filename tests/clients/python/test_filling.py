"""Rounds that fill empty collections: whole or not at all, whatever happens between their pages."""

import gc
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from core.schema.app import App
from skerry_client import Skerry
from skerry_client.store.collector import collector_paused
from skerry_client.store.confirmed import Confirmed
from sync_protocol.errors import MalformedMessage
from sync_protocol.messages.cursor import Cursor
from sync_protocol.messages.page import Checkpoint, Page, Rows
from sync_protocol.messages.pull import Pull
from sync_protocol.messages.push import WireChange, WireMutation
from sync_protocol.space_rows import encode_space_rows
from tests.clients.python.killed_filling import ROWS, ROWS_PER_PAGE, server_with_notes
from tests.clients.python.links import check, sync
from tests.clients.python.survey import NORTH, SOUTH, Airfield, Note, database, survey
from tests.clients.python.test_sync import World

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setattr(Confirmed, "sum_space_again", None)  # It would cure what is wrong here.
    world = World(tmp_path)
    yield world
    for phone in world.phones.values():
        phone.store.close()


def write(server, row, text, *, collection="note", op: Any = "edit", space=NORTH):
    """Let somebody else write a row at the server."""
    at = 2_000_000_000_000_000 + server.sequence
    fields = {"text": text} if collection == "note" else {"name": text}
    change = WireChange(collection=collection, id=row, op=op, space=space, fields=fields)
    assert server.merge(WireMutation(counter=1, h=at, changes=[change]), 99).outcome == "merged"


def notes(server, count, first=0, **options):
    for number in range(first, first + count):
        write(server, f"row-{number}", str(number), op="insert", **options)


def ask(phone, server, rows_max=4):
    """Return the next page of the phone's round."""
    return server.pull(Pull(2, 1, phone.store.pull_cursor, rows_max, 0, 0))


def finish(phone, server, rows_max=4):
    """Read to the round's end; the digests must be right at once."""
    while (page := ask(phone, server, rows_max)).more:
        phone.store.stage(page)
    assert phone.store.finish(page).mismatched == ()


def texts(phone):
    return dict(map(tuple, phone.query("SELECT id, text FROM note WHERE _alive")))


def tables(phone):
    found = phone.store._connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE '%fill%'"
    )
    return {name for (name,) in found}


def staged_rows(phone):
    """Count the rows in the blobs that are kept aside."""
    connection = phone.store._connection
    return sum(
        len(rows["rows"])
        for (blob,) in connection.execute("SELECT blob FROM _staged_page")
        for raw in msgspec.msgpack.decode(blob).get("spaces", [])
        for rows in raw["collections"].values()
    )


@pytest.mark.parametrize(("moment", "kept"), [("asked", 1), ("kept", 3), ("moved", 4)])
def test_a_kill_in_a_round_costs_at_most_one_page(tmp_path, moment, kept):
    path = database(tmp_path)
    program = [sys.executable, "-m", "tests.clients.python.killed_filling"]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'clients' / 'python'}"}
    (tmp_path / "its").mkdir()
    killed = subprocess.run(
        [*program, str(path), str(tmp_path / "its"), moment], cwd=ROOT, env=environment, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    server = server_with_notes(tmp_path)
    phone = Skerry(path, survey())
    assert phone.rows(Note) == []
    assert phone.store.digests() == {}
    cursor = phone.store.pull_cursor
    assert cursor is not None
    assert cursor.backfill is not None
    assert cursor.backfill.after == kept * ROWS_PER_PAGE
    pulls = []
    seen = lambda message, when: pulls.append((type(message), when))  # noqa: E731
    assert sync(phone.store, server, trouble=seen, rows_max=ROWS_PER_PAGE).why == "live"
    assert pulls.count((Pull, "before")) == ROWS // ROWS_PER_PAGE - kept
    assert texts(phone) == {f"row-{number}": str(number) for number in range(ROWS)}
    assert phone.store.digests() == {NORTH: server.digest(NORTH)}
    assert tables(phone) == set()
    phone.store.close()
    check(path, survey())


def test_a_row_that_changes_in_the_round_comes_twice_and_is_there_once(world):
    phone = world.phone("a")
    notes(world.server, 10)
    for _ in range(2):
        assert phone.store.stage(ask(phone, world.server)) == 4
    write(world.server, "row-1", "changed")
    write(world.server, "row-9", "changed")
    finish(phone, world.server)
    world.check()
    assert len(texts(phone)) == 10
    assert texts(phone)["row-1"] == texts(phone)["row-9"] == "changed"
    assert world.is_equal(phone)


def test_an_older_state_that_comes_later_is_passed_over(world):
    phone, server = world.phone("a"), world.server
    notes(server, 1)
    old, sequence = server.bytes_of(server.rows["note", "row-0"]), server.sequence
    write(server, "row-0", "newer")
    page = ask(phone, server)
    phone.store.stage(msgspec.structs.replace(page, more=True, cursor=Cursor("db", 1)))
    late = encode_space_rows(NORTH, {"note": Rows([sequence], [msgspec.Raw(old)])})
    last = msgspec.structs.replace(page, spaces=[msgspec.Raw(late)], gained=[])
    assert phone.store.finish(last).mismatched == ()
    world.check()
    assert texts(phone) == {"row-0": "newer"}


@pytest.mark.parametrize("had_rows", [False, True])
def test_a_reset_in_the_middle_starts_the_round_again(world, had_rows):
    phone, server = world.phone("a"), world.server
    notes(server, 6)
    if had_rows:
        finish(phone, server)
        phone.store.reset_read()
    phone.store.stage(ask(phone, server))
    server.database = "another"
    del server.rows["note", "row-1"]
    notes(server, 12, first=20)
    phone.store.stage(ask(phone, server))
    phone.store.close()
    phone = world.phone("a")
    assert ("row-1" in texts(phone)) == had_rows
    phone.store.stage(ask(phone, server))
    assert staged_rows(phone) == 0
    finish(phone, server)
    world.check()
    assert texts(phone).keys() == {row for _, row in server.rows}
    assert world.is_equal(phone)


def test_a_reset_of_a_phone_with_rows_fills_too_and_hides_it(world):
    phone, server = world.phone("a"), world.server
    notes(server, 10)
    finish(phone, server)
    server.database = "another"
    write(server, "row-3", "changed")
    for _ in range(2):
        phone.store.stage(ask(phone, server))
        assert staged_rows(phone) == 0
    world.check()
    assert texts(phone)["row-3"] == "3"
    finish(phone, server)
    world.check()
    assert texts(phone)["row-3"] == "changed"
    assert world.is_equal(phone)


def test_a_pending_edit_stays_on_top_of_the_row_that_comes(world):
    phone, server = world.phone("a"), world.server
    notes(server, 10)
    finish(phone, server)
    phone.store.reset_read()
    phone.store.stage(ask(phone, server))
    phone.edit(Note, "row-2", text="mine")
    phone.edit(Note, "row-7", text="mine too")
    phone.insert(Note, space=NORTH, id="row-new", text="made here")
    write(server, "row-9", "theirs")
    finish(phone, server)
    world.check()
    shown = texts(phone)
    assert (shown["row-2"], shown["row-7"], shown["row-9"]) == ("mine", "mine too", "theirs")
    assert shown["row-new"] == "made here"
    assert len(shown) == 11
    assert world.is_equal(phone)
    world.sync(phone)
    assert phone.pending() == []
    assert texts(phone)["row-2"] == "mine"
    assert world.is_equal(phone)


def test_a_pending_insert_that_the_server_has_already_is_there_once(world):
    phone, server = world.phone("a"), world.server
    phone.insert(Note, space=NORTH, id="row-0", text="mine")
    notes(server, 6)
    phone.store.stage(ask(phone, server))
    world.check()
    finish(phone, server)
    world.check()
    assert len(texts(phone)) == 6
    assert world.is_equal(phone)


def test_one_collection_is_filled_while_another_has_rows(world):
    phone, server = world.phone("a"), world.server
    notes(server, 3)
    finish(phone, server)
    for number in range(6):
        write(server, f"row-{number % 3}", f"changed {number}")
        write(server, f"field-{number}", str(number), collection="airfield", op="insert")
    assert phone.store.stage(ask(phone, server)) == 4
    assert staged_rows(phone) == 1
    assert tables(phone) == {"_fill_airfield", "_bucket_filling"}
    write(server, "row-1", "last")
    finish(phone, server)
    world.check()
    assert texts(phone) == {"row-0": "changed 3", "row-1": "last", "row-2": "changed 5"}
    assert {row.name for row in phone.rows(Airfield)} == {str(number) for number in range(6)}
    assert world.is_equal(phone)


@pytest.mark.parametrize("is_last", [False, True])
def test_a_space_that_is_lost_in_the_round_is_not_filled(world, is_last):
    phone, server = world.phone("a"), world.server
    notes(server, 4, space=SOUTH)
    notes(server, 4, first=10)
    phone.store.stage(ask(phone, server))
    checkpoint = Checkpoint(server.sequence, {NORTH: server.digest(NORTH)})
    page = msgspec.structs.replace(ask(phone, server), lost=[SOUTH], checkpoint=checkpoint)
    if not is_last:
        phone.store.stage(msgspec.structs.replace(page, more=True))
        page = msgspec.structs.replace(page, lost=[], spaces=[])
    assert phone.store.finish(page).mismatched == ()
    world.check()
    assert texts(phone).keys() == {f"row-{number}" for number in range(10, 14)}
    assert phone.spaces().keys() == {NORTH}


def test_the_indexes_are_those_of_a_table_that_was_never_filled(world):
    phone = world.phone("a")

    def schema():
        found = phone.store._connection.execute(
            "SELECT type, name, replace(replace(sql, ' ', ''), char(10), '') FROM sqlite_master"
            " WHERE tbl_name = 'note' ORDER BY name"
        )
        return found.fetchall()

    before = schema()
    notes(world.server, 10)
    finish(phone, world.server)
    assert schema() == before


def test_a_new_field_starts_an_unfinished_round_again(world):
    phone, server = world.phone("a"), world.server
    notes(server, 6)
    phone.store.stage(ask(phone, server))
    phone.store.close()
    app = App("survey", version=1, spaces={"region": ["member"]})
    app.add(Note)
    phone = Skerry(database(world.folder, "a"), app)
    assert phone.store.pull_cursor is None
    assert tables(phone) == set()
    phone.store.close()


def test_an_ill_formed_row_leaves_nothing(world):
    phone = world.phone("a")
    rows = encode_space_rows(NORTH, {"note": Rows([1], [msgspec.Raw(b"\x01")])})
    page = Page(Cursor("db", 1), more=True, spaces=[msgspec.Raw(rows)])
    with pytest.raises(MalformedMessage):
        phone.store.stage(page)
    assert tables(phone) == set()
    assert phone.store.pull_cursor is None


def test_the_collector_runs_again_after_the_last_pause():
    with collector_paused():
        assert not gc.isenabled()
        with pytest.raises(KeyError), collector_paused():
            raise KeyError
        assert not gc.isenabled()
    assert gc.isenabled()
