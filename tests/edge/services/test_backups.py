"""A backup is whole or is none; secrets are sealed; retention keeps what it says; schedules run."""

import asyncio
import json
import os
import sqlite3
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, cast

import msgspec
import pytest

from edge.errors import Forbidden, NotFound, Unavailable
from edge.gateways.object_store import open_store
from edge.gateways.packing import FilePacker
from edge.ports.backups import BackupDamaged
from edge.services.backup_manifest import encode_manifest, is_backup_name, new_name
from edge.services.backups import DAY_MS, DAYS_KEPT, NEWEST_KEPT, Backups, kept_names
from edge.storage.snapshot import DataFolder

if TYPE_CHECKING:
    from edge.ports.backups import ObjectStore

KEY = bytes(range(32))
START_MS = 1_790_000_000_000
WAIT_SECONDS = 20


class Clock:
    def __init__(self):
        self.now_ms = START_MS

    def __call__(self):
        self.now_ms += 1
        return self.now_ms


class Flaky:
    """A store that fails after some puts, and may look like one of another machine."""

    def __init__(self, inner, *, is_local=True):
        self._inner = inner
        self.is_local = is_local
        self.puts_left = 1_000_000

    async def put(self, path, source):
        self._count()
        await self._inner.put(path, source)

    async def put_bytes(self, path, content):
        self._count()
        await self._inner.put_bytes(path, content)

    def _count(self):
        self.puts_left -= 1
        if self.puts_left < 0:
            raise Unavailable("The store is away.")

    def __getattr__(self, name):
        return getattr(self._inner, name)


class Made:
    """A data folder with its backups."""

    def __init__(self, folder, *, key=None, is_local=True):
        self.data = folder / "data"
        self.folder = folder / "store"
        self.clock = Clock()
        self.store = Flaky(open_store(str(self.folder), {}), is_local=is_local)
        self.source = DataFolder(
            self.data, databases=("control.db", "vault.db"), tenants="tenants", keys="keys"
        )
        (self.data / "tenants").mkdir(parents=True, exist_ok=True)
        (self.data / "keys").mkdir(exist_ok=True)
        (self.data / "keys" / "dev-a.pem").write_text("a private key")
        for name in ("control", "vault", "tenants/main"):
            connection = sqlite3.connect(self.data / f"{name}.db")
            connection.executescript(
                "CREATE TABLE IF NOT EXISTS sk_meta (key TEXT, value TEXT);"
                "INSERT INTO sk_meta VALUES ('database', '\"abc\"'), ('sequence', '7');"
                "INSERT INTO sk_meta VALUES ('schema', '{\"app\": \"survey\"}');"
            )
            connection.close()
        self.backups = self.with_key(key)

    def with_key(self, key):
        return Backups(
            cast("ObjectStore", self.store),
            FilePacker(key),
            stage=self.data / "stage",
            node="one",
            now_ms=self.clock,
            entropy=os.urandom,
        )


@pytest.fixture
def made(tmp_path):
    return Made(tmp_path)


@pytest.mark.parametrize("key", [None, KEY], ids=["open", "sealed"])
async def test_what_was_backed_up_comes_back(tmp_path, key):
    made = Made(tmp_path, key=key)
    manifest = await made.backups.make(made.source)
    assert await made.backups.names() == [manifest.name]
    assert manifest == await made.backups.newest()
    assert (manifest.app, manifest.node) == ("survey", "one")
    paths = ["control.db", "vault.db", "tenants/main.db", "keys/dev-a.pem"]
    assert [file.path for file in manifest.files] == paths
    tenant = manifest.files[2]
    assert (tenant.tenant, tenant.database, tenant.sequence) == ("main", "abc", 7)
    for number, file in enumerate(manifest.files):
        await made.backups.fetch(manifest, file, tmp_path / str(number))
    assert (tmp_path / "3").read_text() == "a private key"
    assert not list((made.data / "stage").iterdir())


async def test_nothing_secret_is_readable_in_a_sealed_backup(tmp_path):
    made = Made(tmp_path, key=KEY, is_local=False)
    await made.backups.make(made.source)
    stored = [path.read_bytes() for path in made.folder.rglob("*") if path.is_file()]
    assert len(stored) == 5
    assert not any(b"private key" in content or b"SQLite format" in content for content in stored)


async def test_secrets_do_not_leave_the_machine_unsealed(tmp_path):
    made = Made(tmp_path, is_local=False)
    with pytest.raises(Forbidden, match="SKERRY_BACKUP_KEY"):
        await made.backups.make(made.source)
    assert not list(made.folder.iterdir())


@pytest.mark.parametrize("puts", range(5))
async def test_a_backup_that_breaks_off_is_none_and_goes_after_a_day(made, puts):
    made.store.puts_left = puts
    with pytest.raises(Unavailable):
        await made.backups.make(made.source)
    assert await made.backups.names() == []
    with pytest.raises(NotFound):
        await made.backups.newest()
    made.store.puts_left = 100
    whole = await made.backups.make(made.source)
    made.clock.now_ms = int(datetime.now(UTC).timestamp() * 1_000)
    assert await made.backups.prune() == []
    made.clock.now_ms += DAY_MS + 60_000
    gone = await made.backups.prune()
    assert len(gone) == (1 if puts else 0)
    assert await made.backups.names() == [whole.name]
    assert len([path for path in made.folder.rglob("*") if path.is_file()]) == 5


async def test_a_changed_file_is_not_restored(made, tmp_path):
    manifest = await made.backups.make(made.source)
    (path,) = made.folder.rglob("main.db")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BackupDamaged):
        await made.backups.fetch(manifest, manifest.files[2], tmp_path / "back")


async def test_a_file_in_another_s_place_is_noticed(made, tmp_path):
    manifest = await made.backups.make(made.source)
    files = {path.name: path for path in made.folder.rglob("*.db")}
    files["vault.db"].write_bytes((made.folder.rglob("*.pem")).__next__().read_bytes())
    with pytest.raises(BackupDamaged):
        await made.backups.fetch(manifest, manifest.files[1], tmp_path / "back")


async def test_a_manifest_is_believed_with_its_key_only(tmp_path):
    made = Made(tmp_path, key=KEY)
    name = (await made.backups.make(made.source)).name
    path = made.folder / "backups" / name / "manifest.json"
    document = json.loads(path.read_bytes())
    document["manifest"]["files"].pop()
    path.write_text(json.dumps(document))
    with pytest.raises(BackupDamaged, match="changed"):
        await made.backups.manifest(name)
    with pytest.raises(BackupDamaged, match="its key is needed"):
        await made.with_key(None).manifest(name)
    document["manifest"]["is_sealed"] = False
    path.write_text(json.dumps(document))
    with pytest.raises(BackupDamaged, match="not sealed"):
        await made.backups.manifest(name)


@pytest.mark.parametrize(
    "path",
    [
        "../evil.db",
        "/etc/passwd.db",
        "tenants/../../x.db",
        "keys/../a.pem",
        "keys/a.txt",
        "node.db/",
    ],
)
async def test_a_manifest_that_names_other_places_is_refused(made, path):
    manifest = await made.backups.make(made.source)
    changed = msgspec.structs.replace(
        manifest, files=[msgspec.structs.replace(manifest.files[0], path=path)]
    )
    content = encode_manifest(changed, FilePacker(None))
    await made.store.put_bytes(f"backups/{manifest.name}/manifest.json", content)
    with pytest.raises(BackupDamaged, match="names what no backup holds"):
        await made.backups.manifest(manifest.name)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"manifest": {}, "code": ""}', b"\xff"])
async def test_a_manifest_that_is_none_is_damaged(made, content):
    name = new_name(START_MS, bytes(4))
    await made.store.put_bytes(f"backups/{name}/manifest.json", content)
    with pytest.raises(BackupDamaged):
        await made.backups.newest()


async def test_the_newest_before_a_time_is_found(made):
    names = []
    for hour in range(3):
        made.clock.now_ms = START_MS + hour * 3_600_000
        names.append((await made.backups.make(made.source)).name)
    found = await made.backups.newest(until_ms=START_MS + 2 * 3_600_000)
    assert found.name == names[1]
    with pytest.raises(NotFound):
        await made.backups.newest(until_ms=START_MS - 1)


async def test_a_tenant_that_is_erased_meanwhile_is_left_out(made):
    files = made.source.files

    def files_then_erased():
        found = files()
        (made.data / "tenants" / "main.db").unlink(missing_ok=True)
        return found

    made.source.files = files_then_erased
    manifest = await made.backups.make(made.source)
    assert [file.path for file in manifest.files] == ["control.db", "vault.db", "keys/dev-a.pem"]


async def test_an_empty_folder_is_no_backup(made, tmp_path):
    empty = DataFolder(tmp_path / "none", databases=("control.db",), tenants="t", keys="k")
    with pytest.raises(NotFound):
        await made.backups.make(empty)


def test_retention_keeps_the_newest_and_the_last_of_each_recent_day():
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    hours = [now - timedelta(hours=hour) for hour in range(24 * 40)]
    names = [new_name(int(hour.timestamp() * 1_000), bytes(4)) for hour in hours]
    kept = kept_names(names, today=now.date().toordinal())
    assert set(names[:NEWEST_KEPT]) <= kept
    daily = {name[:8] for name in kept}
    assert len(daily) == DAYS_KEPT
    older = sorted(kept - set(names[:NEWEST_KEPT]))
    assert all(name[9:11] == "23" for name in older)
    assert len(kept) == NEWEST_KEPT + DAYS_KEPT - 2
    assert kept_names(names[-3:], today=now.date().toordinal() + 900) == set(names[-3:])


async def test_pruning_deletes_whole_backups_and_nothing_else(made):
    names = []
    for number in range(NEWEST_KEPT + 2):
        made.clock.now_ms = START_MS + number * 60_000
        names.append((await made.backups.make(made.source)).name)
    await made.store.put_bytes("litestream/tenants/main.db/ltx/0/1.ltx", b"x")
    await made.store.put_bytes("backups/readme.txt", b"x")
    assert await made.backups.prune() == names[:2]
    assert await made.backups.names() == names[2:]
    assert len(await made.store.list("backups")) == NEWEST_KEPT * 5 + 1
    assert len(await made.store.list("litestream")) == 1
    await made.backups.fetch(*(await first_file(made, names[2])), made.data / "back")


async def first_file(made, name):
    manifest = await made.backups.manifest(name)
    return manifest, manifest.files[0]


async def test_a_schedule_makes_backups_when_they_are_due_and_outlasts_failures(made, monkeypatch):
    monkeypatch.setattr("edge.services.backups.RETRY_S", 0.05)
    made.clock = lambda: int(datetime.now(UTC).timestamp() * 1_000)
    backups = made.with_key(None)
    made.store.puts_left = 2
    schedule = backups.start(made.source, every_s=3_600)
    await asyncio.sleep(0.2)
    assert await backups.names() == []
    made.store.puts_left = 100
    await appear(backups, 1)
    await asyncio.sleep(0.3)
    assert len(await backups.names()) == 1
    await schedule.close()
    again = backups.start(made.source, every_s=0.05)
    await appear(backups, 3)
    await again.close()
    count = len(await backups.names())
    await asyncio.sleep(0.2)
    assert len(await backups.names()) == count


async def appear(backups, count):
    async with asyncio.timeout(WAIT_SECONDS):
        while len(await backups.names()) < count:  # noqa: ASYNC110  (another process works)
            await asyncio.sleep(0.02)


def test_names_sort_by_time():
    names = [new_name(START_MS + ms, os.urandom(4)) for ms in (0, 1, 999, 1_000, DAY_MS)]
    assert names == sorted(names)
    assert all(map(is_backup_name, names))
    assert not is_backup_name("../" + names[0])
