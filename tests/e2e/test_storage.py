"""A full disk and a locked database under the node: typed answers, nothing lost, and it passes."""

import asyncio
import sqlite3
import time

from skerry_client import Add
from tests.e2e.phones import NORTH, phone_of, row_of, settle, sync_for
from tests.e2e.survey import Note, Site

LOCKED_SECONDS = 3.0
SYNC_SECONDS = 2.0
PAGE = "x" * 20_000


def rest_write(node, number):
    """Insert a note over REST; the node answers at once, without a phone's patience."""
    body = {"space": NORTH, "id": f"rest-{number}", "fields": {"text": PAGE}}
    return node.ask("POST", "/v1/rows/note", person="ada", is_admin=False, json=body)


async def test_a_full_disk_is_said_and_nothing_is_lost_once_there_is_room(node, tmp_path):
    ada, ben = phone_of(node, tmp_path, "ada"), phone_of(node, tmp_path, "ben")
    ada.insert(Site, space=NORTH, id="site")
    await settle(ada, ben)
    wal = node.database.with_name(node.database.name + "-wal")
    node.limit_file_size(wal.stat().st_size + 40_000)
    taken = []
    for number in range(10):
        answer = rest_write(node, number)
        if answer.is_error:
            break
        taken.append(f"rest-{number}")
    assert answer.status_code == 507
    assert answer.json()["fault"] == "storage-full"
    for number in range(20):
        ada.edit(Site, "site", visits=Add(1))
        ada.insert(Note, space=NORTH, id=f"note-{number}", text=PAGE)
    assert "storage-full" in await sync_for(ada, SYNC_SECONDS)
    assert len(ada.pending()) == 40
    assert node.ask("GET", "/health/ready").is_success
    assert row_of(ben, Site, "site").visits == 0
    node.limit_file_size(None)
    await settle(ada, ben)
    assert row_of(ben, Site, "site").visits == 20
    assert {note.row_id for note in ben.rows(Note)} == {*taken, *(f"note-{n}" for n in range(20))}
    await ada.close()
    await ben.close()
    node.stop()
    node.check()


async def test_a_locked_database_is_said_and_waited_for(node, tmp_path):
    ada, ben = phone_of(node, tmp_path, "ada"), phone_of(node, tmp_path, "ben")
    ada.insert(Site, space=NORTH, id="site")
    await settle(ada, ben)
    ada.edit(Site, "site", visits=Add(1))
    other = sqlite3.connect(node.database, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    answer = await asyncio.to_thread(rest_write, node, 0)
    assert answer.status_code == 503
    assert answer.json()["fault"] == "storage-busy"
    assert answer.headers["retry-after"]
    # Reads go on meanwhile, and a sync that begins now outlasts the lock.
    listed = node.ask("GET", "/v1/rows/site", person="ada", is_admin=False)
    assert [row["id"] for row in listed.json()["rows"]] == ["site"]
    asyncio.get_running_loop().call_later(LOCKED_SECONDS, other.execute, "ROLLBACK")
    started = time.monotonic()
    status = await ada.sync()
    if not status.is_current:
        assert "storage-busy" in status.message
    assert time.monotonic() - started >= LOCKED_SECONDS - 1
    await settle(ada, ben)
    other.close()
    assert row_of(ben, Site, "site").visits == 1
    await ada.close()
    await ben.close()
