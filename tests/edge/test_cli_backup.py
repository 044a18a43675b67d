"""`skerry backup`, `backups`, `restore` and `verify` on folders: what they print and refuse."""

import asyncio
import json
import os
import sqlite3
import stat

import pytest

from edge.cli.backup import backup, backups
from edge.cli.failure import CommandError
from edge.cli.restore import parse_moment_ms, restore
from edge.cli.verify import verify
from edge.errors import Conflict, EdgeError, Forbidden, NotFound, Unavailable
from edge.ports.backups import BackupDamaged
from edge.settings import SettingError
from edge.workers.serve_lock import DataLock
from tests.edge.gateways.s3_server import BUCKET, s3_server
from tests.edge.services.harness import insert, running

MODULE_TEXT = "from tests.edge.services.survey import make_app\n\napp = make_app()\n"
NODE_KEY = "dev-key.pem"


async def filled(data):
    """Make a data folder with a tenant of some rows, as a node leaves it."""
    (data / "keys").mkdir(parents=True)
    (data / "keys" / NODE_KEY).write_text("a private key")
    for name in ("control", "vault"):
        connection = sqlite3.connect(data / f"{name}.db")
        connection.execute("CREATE TABLE of_identity (id INTEGER PRIMARY KEY, x)")
        connection.execute("INSERT INTO of_identity VALUES (1, 'one')")
        connection.commit()
        connection.close()
    async with running(data / "tenants") as node:
        device = await node.device("ann")
        for number in range(30):
            assert await device.push(insert("task", f"t{number}", text=f"task {number}")) is None


@pytest.fixture
def data(tmp_path, monkeypatch):
    for name in list(os.environ):
        if name.startswith("SKERRY_"):
            monkeypatch.delenv(name)
    asyncio.run(filled(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def module(tmp_path):
    path = tmp_path / "app_of_test.py"
    path.write_text(MODULE_TEXT)
    return path


def rows(path, sql="SELECT * FROM c_task ORDER BY id"):
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def change(path, sql):
    connection = sqlite3.connect(path)
    connection.execute(sql)
    connection.commit()
    connection.close()


def name_of(capsys):
    return capsys.readouterr().out.split("\t")[0]


def test_a_folder_goes_round(data, module, tmp_path, capsys):
    target = str(tmp_path / "store")
    backup(to=target, data=data)
    name = name_of(capsys)
    backups(from_=target)
    listed = capsys.readouterr().out.split("\t")
    assert (listed[0], listed[4]) == (name, "4")
    verify(module, from_=target)
    assert capsys.readouterr().out == "ok\t4 files\n"
    restore(from_=target, data=tmp_path / "new")
    restored = tmp_path / "new" / "tenants" / "main.db"
    assert rows(restored) == rows(data / "tenants" / "main.db")
    assert (tmp_path / "new" / "keys" / NODE_KEY).read_text() == "a private key"
    private = [p for p in (tmp_path / "new").rglob("*") if p.is_file() and p.name != "main.json"]
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in private)
    # The mark is one ahead of the copy, so that the node gives it a new id (T2).
    (sequence,) = rows(restored, "SELECT value FROM sk_meta WHERE key = 'sequence'")[0]
    mark = json.loads((tmp_path / "new" / "high-water" / "main.json").read_text())
    assert mark == {"database": "database-1", "sequence": int(sequence) + 1}
    assert not [path.name for path in (tmp_path / "new").iterdir() if path.name.startswith(".")]


def test_nothing_is_overwritten(data, tmp_path, capsys):
    target = str(tmp_path / "store")
    backup(to=target, data=data)
    with pytest.raises(Conflict, match="not empty"):
        restore(from_=target, data=data)
    (tmp_path / "new").mkdir()
    with DataLock(tmp_path / "new"), pytest.raises(Unavailable, match="is running"):
        restore(from_=target, data=tmp_path / "new")
    restore(from_=target, data=tmp_path / "new")
    assert (tmp_path / "new" / "tenants" / "main.db").is_file()


def test_a_restore_that_fails_leaves_an_empty_folder(data, tmp_path, capsys):
    target = tmp_path / "store"
    backup(to=str(target), data=data)
    (path,) = target.rglob("main.db")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BackupDamaged):
        restore(from_=str(target), data=tmp_path / "new")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["node.lock"]


def test_a_backup_is_chosen_by_name_or_time(data, tmp_path, capsys):
    target = str(tmp_path / "store")
    backup(to=target, data=data)
    first = name_of(capsys)
    change(data / "control.db", "INSERT INTO of_identity VALUES (2, 'two')")
    backup(to=target, data=data)
    restore(from_=target, name=first, data=tmp_path / "first")
    restore(from_=target, data=tmp_path / "second")
    sql = "SELECT count(*) FROM of_identity"
    assert rows(tmp_path / "first" / "control.db", sql) == [(1,)]
    assert rows(tmp_path / "second" / "control.db", sql) == [(2,)]
    with pytest.raises(NotFound):
        restore(from_=target, at="2020-01-01T00:00:00Z", data=tmp_path / "third")
    with pytest.raises(NotFound):
        restore(from_=target, name="../first", data=tmp_path / "third")
    with pytest.raises(CommandError):
        restore(from_=target, name=first, at="2020-01-01T00:00:00Z", data=tmp_path / "third")


def test_s3_takes_sealed_backups_only(data, module, tmp_path, capsys, monkeypatch):
    with s3_server(tmp_path) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        target = f"s3://{BUCKET}/of/{tmp_path.name}"
        with pytest.raises(Forbidden):
            backup(to=target, data=data)
        (tmp_path / "backup.key").write_bytes(os.urandom(32))
        monkeypatch.setenv("SKERRY_BACKUP_KEY", str(tmp_path / "backup.key"))
        backup(to=target, data=data)
        verify(module, from_=target)
        restore(from_=target, data=tmp_path / "new")
        assert rows(tmp_path / "new" / "tenants" / "main.db")
        (tmp_path / "backup.key").write_bytes(os.urandom(32))
        with pytest.raises(BackupDamaged, match="key"):
            restore(from_=target, data=tmp_path / "other")


def differences(capsys, *arguments, **options):
    with pytest.raises(SystemExit) as ended:
        verify(*arguments, **options)
    assert ended.value.code == 1
    return capsys.readouterr().out


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE c_task SET text = 'another' WHERE id = 't3'",
        "DELETE FROM c_task WHERE id = 't3'",
        "UPDATE sk_digest SET rows = rows + 1 WHERE collection = 'task'",
        "DELETE FROM sk_digest WHERE collection = 'task'",
    ],
)
def test_rows_that_are_not_what_was_digested_are_found(data, module, tmp_path, capsys, damage):
    target = str(tmp_path / "store")
    verify(module, data=data)
    change(data / "tenants" / "main.db", damage)
    assert "digest of task in north" in differences(capsys, module, data=data)
    backup(to=target, data=data)
    assert "digest of task in north" in differences(capsys, module, from_=target)
    capsys.readouterr()
    verify(data=data)
    assert "not compared" in capsys.readouterr().err


def test_a_changed_object_is_found(data, tmp_path, capsys):
    target = tmp_path / "store"
    backup(to=str(target), data=data)
    (path,) = target.rglob("vault.db")
    path.write_bytes(path.read_bytes()[::-1])
    assert "vault.db" in differences(capsys, from_=str(target))


def test_a_primary_s_copies_are_compared_with_the_server_s_files(data, tmp_path, capsys):
    working = data / "tenants" / "main.db"
    for path in (working, data / "control.db"):
        change(path, "CREATE TABLE sk_fence (id INTEGER PRIMARY KEY, epoch, commits)")
        change(path, "INSERT INTO sk_fence VALUES (1, 1, 5)")
    for namespace, path in (("t-main", working), ("control", data / "control.db")):
        served = data / "sqld" / "dbs" / namespace
        served.mkdir(parents=True)
        (served / "data").write_bytes(path.read_bytes())
    verify(data=data)
    served = data / "sqld" / "dbs" / "t-main" / "data"
    change(served, "UPDATE c_task SET text = 'another' WHERE id = 't3'")
    found = differences(capsys, data=data)
    assert "c_task: 1 rows only in the first, 1 in the second" in found
    change(served, "UPDATE sk_fence SET commits = 6")
    assert "never level" in differences(capsys, data=data)


@pytest.mark.parametrize(
    ("work", "said"),
    [
        (lambda data: backup(data=data), "SKERRY_BACKUP"),
        (lambda data: backup(to="gs://bucket", data=data), "s3://"),
        (lambda data: backup(to=str(data / "b"), data=data / "none"), "not a folder"),
        (lambda data: backups(from_=str(data / "b" / "x.db" / "\0")), "cannot be used"),
        (lambda data: verify(data=data / "keys"), "holds no database"),
        (lambda data: verify(name="x", data=data), "--from"),
        (lambda data: restore(from_=str(data), at="yesterday", data=data / "new"), "is not a time"),
        (lambda data: restore(from_=str(data), at="2026-01-01", data=data / "new"), "offset"),
    ],
)
def test_wrong_use_is_said(data, work, said):
    with pytest.raises((CommandError, SettingError, EdgeError), match=said):
        work(data)


@pytest.mark.parametrize("content", [b"", b"too short", None])
def test_a_key_file_that_is_none_is_refused(data, tmp_path, monkeypatch, content):
    path = tmp_path / "backup.key"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("SKERRY_BACKUP_KEY", str(path))
    with pytest.raises(SettingError, match="SKERRY_BACKUP_KEY"):
        backup(to=str(tmp_path / "store"), data=data)


def test_without_the_package_the_command_says_what_to_install(data, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "obstore.store", None)
    with pytest.raises(Unavailable, match=r"pip install skerry\[backup\]"):
        backup(to=str(tmp_path / "store"), data=data)


def test_times_are_read_with_their_offset():
    assert parse_moment_ms("2026-11-24T12:30:00Z") == 1_795_523_400_000
    assert parse_moment_ms("2026-11-24T13:30:00.250+01:00") == 1_795_523_400_250
