"""`skerry restore`: a backup becomes a data folder.

Invariants
  T1  nothing that is there is overwritten: the folder is empty, and no node runs on it
  T2  every restored tenant gets a new database id when it is opened, since phones may have read
      further than the copy goes: its high-water mark is set one sequence ahead
"""

from __future__ import annotations

import asyncio
import os
import shutil
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from core.ids import TenantId
from edge.cli.control import is_running
from edge.cli.failure import CommandError
from edge.cli.lines import moment, print_lines
from edge.errors import Conflict, NotFound, StorageFull, Unavailable
from edge.ports.backups import BackupDamaged
from edge.settings import read_settings
from edge.workers.serve_lock import NAME as LOCK_FILE
from edge.workers.serve_lock import DataLock

if TYPE_CHECKING:
    from edge.services.backup_manifest import Manifest
    from edge.services.backups import Backups
    from edge.settings import Settings

STAGE: Final = ".restoring"
MARKS_FOLDER: Final = "high-water"
IGNORED: Final = frozenset({LOCK_FILE, "lost+found"})
"""Our own lock, and what a file system's root holds."""


def restore(
    *,
    from_: str | None = None,
    name: str | None = None,
    at: str | None = None,
    data: Path | None = None,
) -> None:
    """Restore into an empty data folder; no node may run on it.

    Without --name and --at what is restored is as new as there is.

    Parameters
    ----------
    from_
        A folder, or s3://bucket/prefix; SKERRY_BACKUP unless given.
    name
        The backup to restore, exactly as it was made.
    at
        A time such as 2026-11-24T12:30:00Z: the state then, to a second where databases were
        streamed, else that of the newest backup before.
    data
        The folder to restore into; made when it is missing.
    """
    if name is not None and at is not None:
        raise CommandError("--name and --at are two different ways to choose")
    settings = read_settings(os.environ, data=data, backup=from_)
    at_ms = None if at is None else parse_moment_ms(at)
    if is_running(settings):
        raise Unavailable(f"A node is running on {settings.data}: restore into another folder.")
    if settings.data.is_dir() and any(p.name not in IGNORED for p in settings.data.iterdir()):
        raise Conflict(f"{settings.data} is not empty: restore into another folder.")
    from edge.backup_wiring import build_backups  # noqa: PLC0415  (loads late)

    backups = build_backups(settings, settings.backup, os.environ)
    with DataLock(settings.data):
        stage = settings.data / STAGE
        try:
            stage.mkdir(mode=0o700)
            manifest = asyncio.run(_restored(backups, settings, stage, name, at_ms))
            for folder in (MARKS_FOLDER, "tenants", "keys"):
                if (stage / folder).is_dir():
                    (stage / folder).rename(settings.data / folder)
            for path in sorted(stage.iterdir()):
                path.rename(settings.data / path.name)
            os.sync()
        finally:
            shutil.rmtree(stage, ignore_errors=True)
    print_lines([(manifest.name, moment(manifest.made_ms), manifest.app)])


def parse_moment_ms(text: str) -> int:
    """Read an ISO 8601 time with its offset as Unix ms; raises CommandError."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{text!r} is not a time such as 2026-11-24T12:30:00Z") from None
    if found.tzinfo is None:
        raise CommandError(f"{text!r} names no offset: write Z for UTC")
    return round(found.timestamp() * 1_000)


async def _restored(
    backups: Backups, settings: Settings, stage: Path, name: str | None, at_ms: int | None
) -> Manifest:
    from edge.storage.high_water import HighWaterFiles  # noqa: PLC0415
    from edge.storage.snapshot import facts_of, integrity_problems  # noqa: PLC0415

    manifest = await (backups.newest(until_ms=at_ms) if name is None else backups.manifest(name))
    for file in manifest.files:
        target = stage / file.path
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        await backups.fetch(manifest, file, target)
    if name is None:
        await _stream(settings, manifest, stage, at_ms)
    marks = HighWaterFiles(stage / MARKS_FOLDER)
    for path in await asyncio.to_thread(_databases, stage):
        if problems := integrity_problems(path):
            raise BackupDamaged(f"{path.name} of {manifest.name} is damaged: {problems[0]}")
        facts = facts_of(path)
        if facts.database is None or facts.sequence is None:
            continue
        tenant = TenantId(path.stem)
        marks.write(tenant, facts.database, facts.sequence + 1)
        if marks.read(tenant) is None:
            raise StorageFull(f"The mark of {tenant} cannot be written.")
    return manifest


def _databases(folder: Path) -> list[Path]:
    return sorted((*folder.glob("*.db"), *folder.glob("tenants/*.db")))


async def _stream(settings: Settings, manifest: Manifest, stage: Path, at_ms: int | None) -> None:
    """Put what was streamed in place of the copies; without a stream nothing changes."""
    from edge.backup_wiring import build_store, build_streams  # noqa: PLC0415
    from edge.gateways.litestream import PREFIX, find_litestream, restore_stream  # noqa: PLC0415
    from edge.storage.snapshot import settle  # noqa: PLC0415

    streamed: dict[str, int] = {}
    for stored in await build_store(settings.backup, os.environ).list(PREFIX):
        path = stored.path.removeprefix(f"{PREFIX}/").partition("/ltx/")[0]
        streamed[path] = max(streamed.get(path, 0), stored.changed_ms)
    if not streamed:
        return
    program = find_litestream(os.environ)
    streams = build_streams(settings, settings.backup, os.environ)
    copied = {file.path for file in manifest.files}
    for path, changed_ms in sorted(streamed.items()):
        # The stream of an erased tenant ended before this backup; that of a new one goes on.
        if path not in copied and changed_ms < manifest.made_ms:
            continue
        target = stage / path
        found = target.with_name(target.name + ".streamed")
        found.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            await restore_stream(program, streams, path, found, at_ms=at_ms)
        except NotFound:
            continue  # it was begun later than that: the copy stands
        await asyncio.to_thread(settle, found)
        if _is_older(found, target):
            found.unlink()
        else:
            found.replace(target)


def _is_older(streamed: Path, copied: Path) -> bool:
    """Tell whether a stream ends before the copy: it was switched off meanwhile."""
    from edge.storage.snapshot import facts_of  # noqa: PLC0415

    if not copied.is_file():
        return False
    one, other = facts_of(streamed), facts_of(copied)
    return one.database == other.database and (one.sequence or 0) < (other.sequence or 0)
