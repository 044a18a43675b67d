"""The drill: a node is lost, a backup becomes a node, and phones go on with nothing typed lost."""

import asyncio
import json
import os
import sqlite3
import time

import pytest

from edge.backup_wiring import build_backups, build_source
from edge.cli.restore import restore
from edge.cli.verify import verify
from edge.errors import Conflict, Unavailable
from edge.gateways.litestream import Litestream, Streams, find_litestream
from edge.settings import Settings
from skerry_client import Add
from tests.e2e.node_process import SURVEY, NodeProcess
from tests.e2e.phones import NORTH, eventually, phone_of, row_of, settle
from tests.e2e.survey import Note, Site

WRITES_BEFORE = 40
STREAMED = SURVEY.with_name("survey_streamed.py")
STREAM_SECONDS = 3.0
KILLS = 3


class Writing:
    """A phone that writes and syncs without a pause; `safe` are the notes that have receipts."""

    def __init__(self, phone, name):
        self.phone = phone
        self.name = name
        self.written = []
        self.safe = set()
        self._task = asyncio.create_task(self._write())

    async def _write(self):
        while True:
            for _ in range(5):
                note = f"{self.name}-{len(self.written)}"
                with self.phone.transaction() as transaction:
                    transaction.insert(Note, space=NORTH, id=note, text=str(time.time_ns()))
                    transaction.edit(Site, "site", visits=Add(1))
                self.written.append(note)
            sent = list(self.written)
            status = await self.phone.sync()
            if status.is_current and not status.pending:
                self.safe |= set(sent)

    async def stop(self):
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


def meta(path, key):
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    try:
        return json.loads(
            connection.execute("SELECT value FROM sk_meta WHERE key = ?", (key,)).fetchone()[0]
        )
    finally:
        connection.close()


def notes(path):
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    try:
        return {row[0] for row in connection.execute("SELECT id FROM c_note WHERE alive = 1")}
    finally:
        connection.close()


async def test_a_backup_under_load_becomes_a_node_that_phones_go_on_with(node, tmp_path):
    target, fresh = str(tmp_path / "store"), tmp_path / "restored"
    ada, ben = phone_of(node, tmp_path, "ada"), phone_of(node, tmp_path, "ben")
    ada.insert(Site, space=NORTH, id="site")
    await settle(ada, ben)
    writing = Writing(ada, "ada")
    await eventually(lambda: len(writing.safe) >= WRITES_BEFORE, seconds=30)
    before = set(writing.safe)
    settings = Settings(data=node.data, backup=target)
    manifest = await build_backups(settings, target, {}).make(build_source(settings))
    during = len(writing.safe)
    await eventually(lambda: len(writing.safe) > during + 20, seconds=30)
    await ben.sync()
    assert {note.row_id for note in ben.rows(Note)} > before
    with pytest.raises(Unavailable, match="is running"):
        await asyncio.to_thread(restore, from_=target, data=node.data)
    node.kill()
    await writing.stop()
    ben.insert(Note, space=NORTH, id="ben-offline", text="typed while there was no node")
    ada.insert(Note, space=NORTH, id="ada-offline", text="so was this")
    with pytest.raises(Conflict, match="not empty"):
        await asyncio.to_thread(restore, from_=target, data=node.data)
    await asyncio.to_thread(verify, SURVEY, from_=target)
    await asyncio.to_thread(restore, from_=target, data=fresh)
    (copy,) = (fresh / "tenants").glob("main*.db")
    assert before <= notes(copy)
    old_id = meta(copy, "database")
    assert old_id == next(file.database for file in manifest.files if file.tenant)
    replaced = NodeProcess(data=fresh)
    replaced.port = node.port
    with replaced:
        await settle(ada, ben)
        newcomer = phone_of(replaced, tmp_path, "ben", name="newcomer")
        await settle(ada, ben, newcomer)
        found = {note.row_id for note in newcomer.rows(Note)}
        assert found >= before | {"ada-offline", "ben-offline"}
        mine = sum(note.startswith("ada-") and note != "ada-offline" for note in found)
        assert row_of(newcomer, Site, "site").visits == mine
        assert meta(replaced.database, "database") != old_id
        for phone in (ada, ben, newcomer):
            await phone.close()
    replaced.check()


async def streamed_node(tmp_path, target):
    node = NodeProcess(data=tmp_path / "node", module=STREAMED)
    node.start()
    for person in ("ada", "ben"):
        node.set_member(NORTH, person)
    return node, await started_stream(node, target)


def emptied(node):
    """Checkpoint as the node's writer does before Litestream starts."""
    for path in (node.data / "control.db", node.data / "vault.db", node.database):
        connection = sqlite3.connect(path, timeout=20)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()


async def started_stream(node, target):
    async def empty_logs():
        await asyncio.to_thread(emptied, node)

    streams = Streams(node.data, target, dict(os.environ))
    stream = Litestream(
        find_litestream(os.environ),
        streams,
        tenants="tenants",
        databases=("control.db", "vault.db"),
        empty_logs=empty_logs,
    )
    await stream.start()
    return stream


@pytest.mark.slow
async def test_a_streamed_node_is_restored_as_it_was_at_a_moment(tmp_path):
    target = str(tmp_path / "store")
    node, stream = await streamed_node(tmp_path, target)
    ada = phone_of(node, tmp_path, "ada")
    ada.insert(Site, space=NORTH, id="site")
    await settle(ada)
    settings = Settings(data=node.data, backup=target)
    await build_backups(settings, target, {}).make(build_source(settings))
    writing = Writing(ada, "ada")
    for _ in range(KILLS):
        await asyncio.sleep(STREAM_SECONDS)
        node.kill()
        node.start()
        # The node that starts ends the Litestream of the one that was killed.
        abandoned, stream = stream, await started_stream(node, target)
        await abandoned.close()
    await asyncio.sleep(1.0)
    safe, moment_ns = set(writing.safe), time.time_ns()
    await asyncio.sleep(STREAM_SECONDS)
    # What was answered a second before the moment is in it: streams are sent every second.
    assert set(writing.safe) > safe
    assert stream.pid is not None
    os.kill(stream.pid, 9)
    await eventually(lambda: stream.restarts > 0)
    await asyncio.sleep(STREAM_SECONDS)
    last = set(writing.safe)
    await asyncio.sleep(2.0)
    node.kill()
    await writing.stop()
    await stream.close()
    at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment_ns // 10**9 + 2)) + "Z"
    for name, when, least, most in (
        ("then", at, safe, last),
        ("latest", None, last, set(writing.written)),
    ):
        folder = tmp_path / name
        await asyncio.to_thread(restore, from_=target, at=when, data=folder)
        await asyncio.to_thread(verify, SURVEY, data=folder)
        (copy,) = (folder / "tenants").glob("main*.db")
        found = notes(copy)
        assert least <= found <= most
        texts = {
            row[0]: int(row[1])
            for row in sqlite3.connect(copy).execute("SELECT id, text FROM c_note")
        }
        if when is not None:
            assert found < set(writing.written)
            assert max(texts.values()) < moment_ns + 2 * 10**9
    again = NodeProcess(data=tmp_path / "latest")
    again.port = node.port
    with again:
        await settle(ada)
        visits = row_of(ada, Site, "site").visits
        assert visits == len(list(ada.rows(Note))) >= len(last)
        await ada.close()
    again.check()
