"""The last whole copy of a database that sqld has thrown away, until the next one is whole.

sqld drops a replica when the primary's log is another one, after an unclean end or a take-over, and
copies everything again. Were that primary lost meanwhile, nobody would have the data.

Invariants
  P1  a spare is whole, and as new as what was thrown away: it is read through a connection that
      was open before, whose file lives on until it is closed
  P2  it is dropped once sqld has a whole copy again, and not before
  P3  it never takes the room that the next copy needs
  P4  a node that is made primary starts on its spare where sqld has no whole copy
"""

from __future__ import annotations

import asyncio
import errno
import math
import os
import shutil
import sqlite3
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from edge.storage.snapshot import commits_in, commits_of, copy_opened, opened

if TYPE_CHECKING:
    from pathlib import Path

    from edge.storage.sqlite import UnitConnection

FOLDER: Final = "spares"
WHOLE: Final = "SELECT commits FROM sk_fence"
"""Returns a row once a copy is whole: sqld copies a log that began anew in one transaction."""
ROOM_BYTES: Final = 16 * 1024 * 1024
"""Left free beside a spare and the next copy: for logs and the outbox."""
_SIZE: Final = ("page_count", "page_size")
_SUFFIX: Final = ".db"
_DRAFT: Final = ".new"
_log = structlog.stdlib.get_logger(__name__)


class Spares:
    """The spare copies of a data folder, by namespace, while its node runs as an edge."""

    def __init__(self, data: Path) -> None:
        self._folder = data / FOLDER
        self._making: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()

    def keep(self, namespace: str, reader: UnitConnection) -> None:
        """Copy what `reader` still has, beside the daily work, and close it then."""
        task = asyncio.create_task(self._kept(namespace, reader), name="spare")
        self._making.add(task)
        task.add_done_callback(self._making.discard)

    async def settled(self) -> None:
        """Wait for the copies that are under way."""
        while self._making:
            await asyncio.gather(*self._making)

    def names(self) -> list[str]:
        """Return whose spares there are; those under way do not count."""
        return sorted(_spares_in(self._folder))

    def drop(self, namespace: str) -> None:
        """Delete a spare, unless another one is under way."""
        if not self._making:
            (self._folder / f"{namespace}{_SUFFIX}").unlink(missing_ok=True)

    async def _kept(self, namespace: str, reader: UnitConnection) -> None:
        try:
            async with self._turn:  # in the order in which they were thrown away
                target = self._folder / f"{namespace}{_SUFFIX}"
                if await reader.unit(partial(_copied, target)):
                    _log.info("spare-kept", database=namespace)
        except (sqlite3.Error, OSError) as error:
            _log.warning("spare-not-kept", database=namespace, reason=str(error))
        finally:
            await reader.close()


def spare_all(data: Path, sqld_folder: Path) -> None:
    """Copy every whole replica while no sqld runs: the next one will throw them away.

    Raises OSError when the disk does not take them.
    """
    for file in sorted((sqld_folder / "dbs").glob("*/data")):
        try:
            with closing(opened(file)) as connection:
                _copied(data / FOLDER / f"{file.parent.name}{_SUFFIX}", connection)
        except sqlite3.Error as error:
            _log.warning("spare-not-kept", database=file.parent.name, reason=str(error))


def lead_with_spares(data: Path, sqld_folder: Path) -> list[str]:
    """Give sqld, which does not run, the spares of what it has no whole copy of (P4).

    May be repeated. Returns whose spares were needed; the others are dropped.
    """
    needed: list[str] = []
    for namespace, spare in sorted(_spares_in(data / FOLDER).items()):
        folder = sqld_folder / "dbs" / namespace
        if _is_whole(folder / "data"):
            spare.unlink()
            continue
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        spare.rename(folder / "data")
        for changed in (folder, folder.parent):
            _sync(changed)
        needed.append(namespace)
    return needed


def _copied(target: Path, connection: sqlite3.Connection) -> bool:
    """Copy a whole database to a file that appears whole or not at all; False: it is not whole."""
    if commits_in(connection) is None:
        return False
    target.parent.mkdir(mode=0o700, exist_ok=True)
    draft = target.with_suffix(_DRAFT)
    draft.unlink(missing_ok=True)
    _require_room(target.parent, connection)
    try:
        copy_opened(connection, draft)
        _sync(draft)
        draft.rename(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    _sync(target.parent)
    return True


def _require_room(folder: Path, connection: sqlite3.Connection) -> None:
    """Raise OSError unless a spare leaves room for what sqld is going to copy."""
    size = math.prod(connection.execute(f"PRAGMA {name}").fetchone()[0] for name in _SIZE)
    if shutil.disk_usage(folder).free < 2 * size + ROOM_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _is_whole(file: Path) -> bool:
    try:
        return commits_of(file) is not None
    except sqlite3.Error:
        return False  # nor is there a file


def _spares_in(folder: Path) -> dict[str, Path]:
    return {file.stem: file for file in folder.glob(f"*{_SUFFIX}")}


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
