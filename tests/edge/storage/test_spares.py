"""What sqld throws away is kept until it has a whole copy again."""

import asyncio
import shutil
import sqlite3
from contextlib import asynccontextmanager, closing

import pytest

from core.fleet import Role
from edge.errors import Unavailable
from edge.settings import read_settings
from edge.spare_wiring import prepare_spares
from edge.storage import fleet_files, spares
from edge.storage.fleet_files import ReplicaFiles, file_of
from edge.storage.spares import Spares, lead_with_spares, spare_all
from edge.workers.role_file import NodeRole, RoleFile
from edge.workers.role_folder import STARTED

NAME = "t-main"
OLD = NodeRole(Role.EDGE, 1, "http://old", "http://old")
NEW = NodeRole(Role.EDGE, 2, "http://new", "http://new")


def copied(file, *, commits):
    """Make what sqld's copy looks like, which somebody keeps open; `commits` None: not whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    if commits is not None:
        connection.execute("CREATE TABLE sk_fence (epoch, writer, commits)")
        connection.execute("INSERT INTO sk_fence VALUES (1, '', ?)", (commits,))
    return connection


def thrown_away(folder, *, commits, name=NAME):
    """Do what sqld does when the log is another one: the file goes, a new one begins."""
    shutil.rmtree(file_of(folder, name).parent)
    return copied(file_of(folder, name), commits=commits)


def commits_in(file):
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(spares.WHOLE).fetchone()[0]


def spare_of(data, name=NAME):
    return data / "spares" / f"{name}.db"


class NoServer:
    """An sqld that answers."""

    def __init__(self, *_):
        pass

    async def rows(self, _sql):
        return []

    async def close(self):
        pass


@asynccontextmanager
async def replica(data, monkeypatch, *, commits=7):
    """A replica that was read once, and the connection of whoever keeps it."""
    monkeypatch.setattr(fleet_files, "SqldDatabase", NoServer)
    folder = data / "sqld"
    with closing(copied(file_of(folder, NAME), commits=commits)):
        files = ReplicaFiles(folder, http="", spares=Spares(data))
        engine = await files.open(NAME)
        try:
            await files.commits()
            yield files
        finally:
            await engine.close()


async def noticed(files):
    """Let the replacement be noticed, and what follows from it end."""
    await asyncio.sleep(0.02)
    found = await files.commits()
    await files.spares.settled()
    return found


async def test_what_is_thrown_away_is_kept_until_it_is_copied_again(tmp_path, monkeypatch):
    async with replica(tmp_path, monkeypatch) as files:
        with closing(thrown_away(tmp_path / "sqld", commits=None)) as sqld:
            assert await noticed(files) == {}
            assert commits_in(spare_of(tmp_path)) == 7
            assert await files.missing([NAME]) == []
            assert await files.missing([NAME, "control"]) == ["control"]
            await files.drop_spares({NAME})
            assert spare_of(tmp_path).exists(), "there is no whole copy yet"
            sqld.execute("CREATE TABLE sk_fence (epoch, writer, commits)")
            sqld.execute("INSERT INTO sk_fence VALUES (1, '', 8)")
            assert await noticed(files) == {NAME: 8}
            await files.drop_spares({NAME})
            assert not spare_of(tmp_path).exists()
            assert await files.missing([NAME]) == []


@pytest.mark.parametrize(("second", "kept"), [(None, 7), (9, 9)])
async def test_only_a_whole_copy_replaces_a_spare(tmp_path, monkeypatch, second, kept):
    async with replica(tmp_path, monkeypatch) as files:
        with closing(thrown_away(tmp_path / "sqld", commits=second)):
            await noticed(files)
            with closing(thrown_away(tmp_path / "sqld", commits=None)):
                await noticed(files)
                assert commits_in(spare_of(tmp_path)) == kept


async def test_a_spare_that_is_being_made_is_waited_for(tmp_path, monkeypatch):
    async with replica(tmp_path, monkeypatch) as files:
        with closing(thrown_away(tmp_path / "sqld", commits=None)):
            await asyncio.sleep(0.02)
            assert await files.missing([NAME]) == []


async def test_of_several_readers_of_one_file_one_makes_the_spare(tmp_path, monkeypatch):
    async with replica(tmp_path, monkeypatch) as files:
        await asyncio.gather(*(files.commits() for _ in range(3)))
        assert len(files._engines[NAME]._readers) > 1
        made = []
        monkeypatch.setattr(spares, "_copied", lambda target, _: made.append(target))
        with closing(thrown_away(tmp_path / "sqld", commits=None)):
            await noticed(files)
            assert len(made) == 1


async def test_what_was_committed_last_is_in_the_spare(tmp_path, monkeypatch):
    async with replica(tmp_path, monkeypatch) as files:
        with closing(sqlite3.connect(file_of(tmp_path / "sqld", NAME))) as sqld:
            sqld.execute("UPDATE sk_fence SET commits = 70")
            sqld.commit()
        with closing(thrown_away(tmp_path / "sqld", commits=None)):
            await noticed(files)
            assert commits_in(spare_of(tmp_path)) == 70


async def test_the_spare_of_a_tenant_that_is_not_served_any_more_is_dropped(tmp_path, monkeypatch):
    async with replica(tmp_path, monkeypatch) as files:
        with closing(thrown_away(tmp_path / "sqld", commits=None)):
            await noticed(files)
            await files.drop_spares({"control"})
            assert files.spares.names() == []


async def test_no_spare_takes_the_room_of_the_next_copy(tmp_path, monkeypatch):
    monkeypatch.setattr(spares, "ROOM_BYTES", 1 << 60)
    async with replica(tmp_path, monkeypatch) as files:
        with closing(thrown_away(tmp_path / "sqld", commits=None)):
            await noticed(files)
            assert list((tmp_path / "spares").iterdir()) == []
            assert await files.missing([NAME]) == [NAME]


async def test_what_a_killed_node_left_of_a_spare_is_written_over(tmp_path, monkeypatch):
    async with replica(tmp_path, monkeypatch) as files:
        (tmp_path / "spares").mkdir()
        (tmp_path / "spares" / f"{NAME}.new").write_bytes(b"half")
        with closing(thrown_away(tmp_path / "sqld", commits=None)):
            await noticed(files)
            assert commits_in(spare_of(tmp_path)) == 7
            assert [path.name for path in (tmp_path / "spares").iterdir()] == [f"{NAME}.db"]
            assert spare_of(tmp_path).stat().st_mode & 0o077 == 0


async def test_a_replica_without_a_file_serves_nothing_and_keeps_its_readers(tmp_path, monkeypatch):
    async with replica(tmp_path, monkeypatch) as files:
        shutil.rmtree(file_of(tmp_path / "sqld", NAME).parent)
        await asyncio.sleep(0.02)
        with pytest.raises(Unavailable):
            await files._engines[NAME].read(lambda sql: sql.one("SELECT 1"))
        with closing(copied(file_of(tmp_path / "sqld", NAME), commits=None)):
            await noticed(files)
            assert commits_in(spare_of(tmp_path)) == 7, "it was still open"


def test_a_node_that_leads_starts_on_the_spare_of_what_is_not_whole(tmp_path):
    for name, commits in (("control", 3), (NAME, 7)):
        copied(file_of(tmp_path / "sqld", name), commits=commits).close()
    spare_all(tmp_path, tmp_path / "sqld")
    thrown_away(tmp_path / "sqld", commits=None).close()
    assert lead_with_spares(tmp_path, tmp_path / "sqld") == [NAME]
    assert commits_in(file_of(tmp_path / "sqld", NAME)) == 7
    assert commits_in(file_of(tmp_path / "sqld", "control")) == 3
    assert list((tmp_path / "spares").iterdir()) == []
    assert lead_with_spares(tmp_path, tmp_path / "sqld") == []


def test_a_node_that_leads_keeps_what_is_whole(tmp_path):
    copied(file_of(tmp_path / "sqld", NAME), commits=7).close()
    spare_all(tmp_path, tmp_path / "sqld")
    thrown_away(tmp_path / "sqld", commits=8).close()
    assert lead_with_spares(tmp_path, tmp_path / "sqld") == []
    assert commits_in(file_of(tmp_path / "sqld", NAME)) == 8
    assert not spare_of(tmp_path).exists()


def test_a_node_that_leads_does_without_a_replica_at_all(tmp_path):
    copied(file_of(tmp_path / "sqld", NAME), commits=7).close()
    spare_all(tmp_path, tmp_path / "sqld")
    shutil.rmtree(tmp_path / "sqld")
    assert lead_with_spares(tmp_path, tmp_path / "sqld") == [NAME]
    assert commits_in(file_of(tmp_path / "sqld", NAME)) == 7


@pytest.mark.parametrize(
    ("last", "role", "is_kept"),
    [(OLD, NEW, True), (OLD, OLD, False), (None, NEW, False)],
)
def test_a_replica_is_spared_when_another_primary_is_followed(tmp_path, last, role, is_kept):
    copied(file_of(tmp_path / "sqld", NAME), commits=7).close()
    if last is not None:
        RoleFile(tmp_path, STARTED).write(last)
    prepare_spares(read_settings({}, data=tmp_path, role="edge"), role)
    assert spare_of(tmp_path).exists() == is_kept


def test_databases_of_a_primary_are_no_replicas(tmp_path):
    copied(file_of(tmp_path / "sqld", NAME), commits=7).close()
    RoleFile(tmp_path, STARTED).write(NodeRole(Role.PRIMARY, 1, "", ""))
    prepare_spares(read_settings({}, data=tmp_path, role="edge"), NEW)
    assert not spare_of(tmp_path).exists()


def test_a_node_made_primary_takes_its_spares(tmp_path):
    copied(file_of(tmp_path / "sqld", NAME), commits=7).close()
    spare_all(tmp_path, tmp_path / "sqld")
    thrown_away(tmp_path / "sqld", commits=None).close()
    prepare_spares(read_settings({}, data=tmp_path, role="edge"), NodeRole(Role.PRIMARY, 2, "", ""))
    assert commits_in(file_of(tmp_path / "sqld", NAME)) == 7
