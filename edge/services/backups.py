"""Backups: consistent copies of a data folder in an object store, on a schedule and by command.

    backups/<name>/files/<path>     a packed file
    backups/<name>/manifest.json    what they are; written last

Invariants
  U1  what has no manifest is no backup: it is not listed, not restored, and deleted after a day
  U2  each database is one commit; between databases nothing is promised
  U3  secrets leave this machine sealed, or not at all
  U4  the newest backup is never deleted, and a manifest goes before its files
  U5  what is fetched is what was copied, byte for byte, or BackupDamaged is raised
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from datetime import date
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from edge.errors import EdgeError, Forbidden, NotFound, StorageFull
from edge.ports.backups import BackupDamaged
from edge.services.backup_manifest import (
    FORMAT,
    KEYS,
    MANIFEST_BYTES_MAX,
    BackedUpFile,
    Manifest,
    decode_manifest,
    encode_manifest,
    is_backup_name,
    new_name,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from edge.ports.backups import BackupSource, ObjectStore, Packer, SourceFile

PREFIX: Final = "backups"
STAGE_PREFIX: Final = ".backup-"
UPLOADS_AT_ONCE: Final = 4
"""So many packed files lie in the stage at once; copies are made one after the other."""
NEWEST_KEPT: Final = 24
DAYS_KEPT: Final = 30
"""A day of hourly backups to undo a mistake, a month of daily ones to find an old one."""
DAY_MS: Final = 86_400_000
ABANDONED_MS: Final = DAY_MS
"""No upload takes a day: files without a manifest that are older were left by a crash."""
RETRY_S: Final = 300.0
"""A failed backup is tried again soon, but a store that is away is not hammered."""
SECRET: Final = frozenset({"control.db", "vault.db"})
_log = structlog.stdlib.get_logger(__name__)


class Running(Protocol):
    """Something that runs until it is closed."""

    async def close(self) -> None:
        """Stop."""
        ...


class Backups:
    """The backups of one store. `stage` is a folder on a disk with room for the largest database.

    `entropy(n)` returns n random bytes.
    """

    def __init__(
        self,
        store: ObjectStore,
        packer: Packer,
        *,
        stage: Path,
        node: str,
        now_ms: Callable[[], int],
        entropy: Callable[[int], bytes],
    ) -> None:
        self._store = store
        self._packer = packer
        self._stage = stage
        self._node = node
        self._now_ms = now_ms
        self._entropy = entropy
        self._copying = asyncio.Lock()
        self._uploading = asyncio.Semaphore(UPLOADS_AT_ONCE)

    async def make(self, source: BackupSource) -> Manifest:
        """Back up a data folder; raises Forbidden (U3), Unavailable, StorageBusy, StorageFull."""
        files = await asyncio.to_thread(source.files)
        if not any(file.is_database for file in files):
            raise NotFound("There is no database to back up.")
        self._require_sealed(files)
        now_ms = self._now_ms()
        name = new_name(now_ms, self._entropy(4))
        apps: set[str] = set()
        with self._staging() as folder:
            try:
                async with asyncio.TaskGroup() as uploads:
                    tasks = [
                        uploads.create_task(
                            self._back_up(source, file, name, folder / str(n), apps)
                        )
                        for n, file in enumerate(files)
                    ]
            except ExceptionGroup as errors:
                raise errors.exceptions[0] from errors  # the others were cancelled by the first
        manifest = Manifest(
            format=FORMAT,
            name=name,
            made_ms=now_ms,
            app=min(apps, default=None),
            node=self._node,
            is_sealed=self._packer.is_sealing,
            files=[file for task in tasks if (file := task.result()) is not None],
        )
        content = encode_manifest(manifest, self._packer)
        await self._store.put_bytes(_manifest_path(name), content)
        return manifest

    async def names(self) -> list[str]:
        """Return the names of the backups, oldest first."""
        return sorted(name for name, paths in (await self._objects()).items() if paths[0])

    async def manifest(self, name: str) -> Manifest:
        """Return one backup's manifest; raises NotFound, BackupDamaged."""
        if not is_backup_name(name):
            raise NotFound(f"{name} is not the name of a backup.")
        content = await self._store.get(_manifest_path(name), bytes_max=MANIFEST_BYTES_MAX)
        return decode_manifest(content, name, self._packer)

    async def newest(self, *, until_ms: int | None = None) -> Manifest:
        """Return the newest backup that was begun at or before a time; raises NotFound."""
        for name in reversed(await self.names()):
            # The name holds the time, but only the manifest is vouched for.
            manifest = await self.manifest(name)
            if until_ms is None or manifest.made_ms <= until_ms:
                return manifest
        raise NotFound("There is no backup from that time or before.")

    async def fetch(self, manifest: Manifest, file: BackedUpFile, target: Path) -> None:
        """Write one file of a backup as it was copied; raises BackupDamaged (U5)."""
        packed = target.with_name(target.name + ".packed")
        object_path = _file_path(manifest.name, file.path)
        try:
            await self._store.download(object_path, packed)
            found = await asyncio.to_thread(
                self._packer.unpack, packed, target, name=object_path, size_bytes=file.size_bytes
            )
        finally:
            packed.unlink(missing_ok=True)
        if (found.sha256, found.size_bytes) != (file.sha256, file.size_bytes):
            raise BackupDamaged(f"{file.path} of {manifest.name} is not what was backed up.")

    async def prune(self) -> list[str]:
        """Delete what retention does not keep, and what crashes have left; return the names."""
        found, now_ms = await self._objects(), self._now_ms()
        whole = sorted(name for name, paths in found.items() if paths[0])
        kept = kept_names(whole, today=_day_of(new_name(now_ms, bytes(4))))
        gone: list[str] = []
        for name, (manifest, files, changed_ms) in found.items():
            is_dead = changed_ms < now_ms - ABANDONED_MS if not manifest else name not in kept
            if is_dead:
                await self._store.delete(manifest)
                await self._store.delete(files)
                gone.append(name)
        return gone

    async def run(self, source: BackupSource, *, every_s: float) -> None:
        """Make backups for ever: one whenever the newest is `every_s` old."""
        while True:
            delay_s = await self._due_in_s(every_s)
            if delay_s > 0:
                await asyncio.sleep(delay_s)
                continue
            delay_s = min(RETRY_S, every_s)
            try:
                manifest = await self.make(source)
                await self.prune()
            except (EdgeError, OSError) as error:
                _log.warning("backup-failed", reason=str(error), retry_s=delay_s)
                await asyncio.sleep(delay_s)
            else:
                packed_bytes = sum(file.packed_bytes for file in manifest.files)
                _log.info("backup-made", name=manifest.name, packed_bytes=packed_bytes)

    def start(self, source: BackupSource, *, every_s: float) -> Running:
        """Start the schedule on the running loop."""
        return _Schedule(asyncio.create_task(self.run(source, every_s=every_s), name="backups"))

    async def _due_in_s(self, every_s: float) -> float:
        try:
            names = await self.names()
        except EdgeError:
            return 0.0  # making one tells what is wrong with the store
        if not names:
            return 0.0
        try:
            made_ms = (await self.manifest(names[-1])).made_ms
        except EdgeError:
            return 0.0
        return max(0.0, min(every_s, made_ms / 1_000 + every_s - self._now_ms() / 1_000))

    async def _back_up(
        self, source: BackupSource, file: SourceFile, name: str, stage: Path, apps: set[str]
    ) -> BackedUpFile | None:
        object_path = _file_path(name, file.path)
        packed = stage.with_name(stage.name + ".packed")
        async with self._uploading:
            async with self._copying:
                facts = await asyncio.to_thread(source.copy, file, stage)
                if not facts.has_bytes:
                    return None
                summary = await asyncio.to_thread(
                    self._packer.pack, stage, packed, name=object_path
                )
                await asyncio.to_thread(stage.unlink)
            await self._store.put(object_path, packed)
            await asyncio.to_thread(packed.unlink)
        if facts.app is not None:
            apps.add(facts.app)
        return BackedUpFile(
            path=file.path,
            sha256=summary.sha256,
            size_bytes=summary.size_bytes,
            packed_bytes=summary.packed_bytes,
            database=facts.database,
            sequence=facts.sequence,
        )

    def _require_sealed(self, files: Iterable[SourceFile]) -> None:
        has_secrets = any(f.path in SECRET or f.path.startswith(f"{KEYS}/") for f in files)
        if has_secrets and not self._packer.is_sealing and not self._store.is_local:
            raise Forbidden(
                "Private keys and password hashes do not leave this machine unsealed: name a key "
                "file in SKERRY_BACKUP_KEY."
            )

    async def _objects(self) -> dict[str, tuple[list[str], list[str], int]]:
        """Return name -> (its manifest, its files, when the last of them was written)."""
        found: dict[str, tuple[list[str], list[str], int]] = {}
        for stored in await self._store.list(PREFIX):
            _, _, rest = stored.path.partition(f"{PREFIX}/")
            name, _, below = rest.partition("/")
            if not is_backup_name(name):
                continue
            manifest, files, changed_ms = found.get(name, ([], [], 0))
            (manifest if below == "manifest.json" else files).append(stored.path)
            found[name] = (manifest, files, max(changed_ms, stored.changed_ms))
        return found

    def _staging(self) -> contextlib.AbstractContextManager[Path]:
        self._stage.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in self._stage.glob(f"{STAGE_PREFIX}*"):
            # Of a process that was killed; a younger one may be of a command that is at work.
            if left.stat().st_mtime * 1_000 < self._now_ms() - ABANDONED_MS:
                shutil.rmtree(left, ignore_errors=True)
        return _Stage(self._stage)


class _Stage(contextlib.AbstractContextManager["Path"]):
    """A folder for its owner alone, which goes with what is in it."""

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        try:
            self._folder = TemporaryDirectory(
                prefix=STAGE_PREFIX, dir=parent, ignore_cleanup_errors=True
            )
        except OSError as error:
            raise StorageFull(f"{parent} cannot be written: {error.strerror}.") from error

    def __enter__(self) -> Path:
        return self._parent / self._folder.name

    def __exit__(self, *_error: object) -> None:
        self._folder.cleanup()


class _Schedule:
    """A task to be closed."""

    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task

    async def close(self) -> None:
        """Stop; a backup that is being made stays without a manifest."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


def kept_names(names: Iterable[str], *, today: int) -> set[str]:
    """Return the backups that retention keeps: the newest, and the last one of each recent day.

    `today` is a day's proleptic Gregorian ordinal (UTC); names hold their times.
    """
    ordered = sorted(names)
    kept = set(ordered[-NEWEST_KEPT:])
    last_of_day = {_day_of(name): name for name in ordered}
    kept |= {name for day, name in last_of_day.items() if day > today - DAYS_KEPT}
    return kept


def _day_of(name: str) -> int:
    return date(int(name[:4]), int(name[4:6]), int(name[6:8])).toordinal()


def _manifest_path(name: str) -> str:
    return f"{PREFIX}/{name}/manifest.json"


def _file_path(name: str, path: str) -> str:
    return f"{PREFIX}/{name}/files/{path}"
