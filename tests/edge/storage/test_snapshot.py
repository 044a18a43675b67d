"""Copies of databases that are being written are one commit each, and the source stays as it is."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading

import pytest

from edge.errors import NotFound
from edge.storage.snapshot import (
    DataFolder,
    copy_database,
    differing_tables,
    facts_of,
    integrity_problems,
)

PAIRS_MIN = 50
WRITER = """
import sqlite3, sys
c = sqlite3.connect(sys.argv[1], isolation_level=None)
c.execute("PRAGMA journal_mode = WAL")
c.execute("PRAGMA wal_autocheckpoint = 0")
c.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x)")
c.execute("INSERT INTO t (x) VALUES (1), (2), (3)")
print("ready", flush=True)
sys.stdin.read()
"""


def a_database(path, statements=()):
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    for statement in statements:
        connection.execute(statement)
    return connection


def rows(path, table="t"):
    connection = sqlite3.connect(path)
    try:
        return connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()
    finally:
        connection.close()


def test_a_copy_of_a_database_that_is_written_is_one_commit(tmp_path):
    source = tmp_path / "source.db"
    writer = a_database(
        source, ["CREATE TABLE a (n INTEGER, fill BLOB)", "CREATE TABLE b (n INTEGER, fill BLOB)"]
    )
    writer.close()
    is_over = threading.Event()
    written = threading.Semaphore(0)

    def write():
        own = a_database(source)
        number = 0
        while not is_over.is_set():
            number += 1
            own.execute("BEGIN IMMEDIATE")
            own.execute("INSERT INTO a VALUES (?, randomblob(2000))", (number,))
            own.execute("INSERT INTO b VALUES (?, randomblob(2000))", (number,))
            own.execute("COMMIT")
            written.release()
        own.close()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(PAIRS_MIN):
            assert written.acquire(timeout=20)
        for number in range(8):
            copy = tmp_path / f"copy-{number}.db"
            copy_database(source, copy)
            counts = [len(rows(copy, table)) for table in "ab"]
            assert counts[0] == counts[1] >= PAIRS_MIN
            assert integrity_problems(copy) == []
    finally:
        is_over.set()
        thread.join()


def test_a_copy_is_one_private_file_and_the_source_is_not_checkpointed(tmp_path):
    source, copy = tmp_path / "source.db", tmp_path / "copy.db"
    writer = a_database(source, ["PRAGMA wal_autocheckpoint = 0", "CREATE TABLE t (id)"])
    writer.execute("INSERT INTO t VALUES (1)")
    before = source.read_bytes(), (tmp_path / "source.db-wal").read_bytes()
    copy_database(source, copy)
    assert (source.read_bytes(), (tmp_path / "source.db-wal").read_bytes()) == before
    writer.close()
    assert rows(copy) == [(1,)]
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert not list(tmp_path.glob("copy.db-*"))


def test_what_a_killed_writer_left_in_its_wal_is_copied(tmp_path):
    source = tmp_path / "source.db"
    command = [sys.executable, "-c", WRITER, str(source)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        os.kill(process.pid, signal.SIGKILL)
    copy_database(source, tmp_path / "copy.db")
    assert len(rows(tmp_path / "copy.db")) == 3


def test_damage_is_found(tmp_path):
    path = tmp_path / "a.db"
    connection = a_database(path, ["CREATE TABLE t (id INTEGER PRIMARY KEY, x)"])
    connection.executemany("INSERT INTO t (x) VALUES (?)", [("x" * 500,)] * 500)
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    assert integrity_problems(path) == []
    content = bytearray(path.read_bytes())
    content[20_480:24_576] = os.urandom(4_096)
    path.write_bytes(content)
    assert integrity_problems(path)
    path.write_bytes(b"no database at all" * 100)
    assert integrity_problems(path)


def test_facts_are_read_from_a_tenant_s_meta(tmp_path):
    path = tmp_path / "a.db"
    connection = a_database(path, ["CREATE TABLE sk_meta (key TEXT, value TEXT)"])
    pairs = [("database", '"abc"'), ("sequence", "7"), ("schema", '{"app": "survey"}')]
    connection.executemany("INSERT INTO sk_meta VALUES (?, ?)", pairs)
    connection.close()
    facts = facts_of(path)
    assert (facts.database, facts.sequence, facts.app) == ("abc", 7, "survey")
    a_database(tmp_path / "b.db", ["CREATE TABLE other (x)"]).close()
    assert facts_of(tmp_path / "b.db").database is None


def test_a_changed_row_a_missing_row_and_a_missing_table_differ(tmp_path):
    tables = ["CREATE TABLE t (id INTEGER PRIMARY KEY, x)", "CREATE TABLE sk_fence (id, n)"]
    one, other = tmp_path / "one.db", tmp_path / "other.db"
    connections = [a_database(path, tables) for path in (one, other)]
    for number, connection in enumerate(connections):
        connection.execute("INSERT INTO t VALUES (1, NULL), (2, 'same')")
        connection.execute("INSERT INTO sk_fence VALUES (1, ?)", (number,))
    assert differing_tables(one, other) == []
    connections[0].execute("UPDATE t SET x = 'changed' WHERE id = 2")
    connections[1].execute("INSERT INTO t VALUES (3, 'new')")
    connections[1].execute("CREATE TABLE more (x)")
    found = differing_tables(one, other)
    assert found == ["more: only in the second", "t: 1 rows only in the first, 2 in the second"]
    for connection in connections:
        connection.close()


def test_a_folder_tells_its_files_control_before_vault(tmp_path):
    (tmp_path / "tenants").mkdir()
    (tmp_path / "keys").mkdir()
    names = ["vault.db", "control.db", "tenants/b.db", "tenants/a.db", "tenants/a.db-wal"]
    names += ["keys/k.pem", "keys/k.pub", "keys/.k.pem.12", "limits.table", "node.lock"]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    folder = DataFolder(
        tmp_path, databases=("control.db", "vault.db"), tenants="tenants", keys="keys"
    )
    wanted = ["control.db", "vault.db", "tenants/a.db", "tenants/b.db", "keys/k.pem", "keys/k.pub"]
    assert [file.path for file in folder.files()] == wanted
    gone = folder.files()[2]
    (tmp_path / gone.path).unlink()
    assert not folder.copy(gone, tmp_path / "copy").has_bytes


def test_a_database_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(NotFound):
        copy_database(tmp_path / "a.db", tmp_path / "b.db")
    assert not list(tmp_path.iterdir())
