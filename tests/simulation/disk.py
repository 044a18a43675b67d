"""Disks that lose what was not synced, tear what was being written, and fill up.

The databases are real SQLite files. A connection of a simulated process notes what SQLite has
synced (a commit with `synchronous=FULL` syncs its log; with NORMAL only a checkpoint does). When a
process is killed its files stay as they were; when the power goes, the log loses a seeded part of
what was not synced, and the sector at the cut may be torn. A doomed machine loses its power in the
middle of a commit, which leaves any prefix of that commit's log.
"""

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.simulation.clock import PROCESS, running
from tests.simulation.process import ProcessKilled

SECTOR_BYTES = 512
_real_connect = sqlite3.connect
_execute = sqlite3.Connection.execute


class SeededConnection(sqlite3.Connection):
    """A connection that belongs to a simulated process, and fails as its machine's disk does."""

    def adopt(self, process, path, *, is_read_only):
        self.process = process
        self.path = path
        self.is_read_only = is_read_only
        self.is_full_sync = True
        self._log = str(_log_of(path))
        self.synced_bytes = _size(self._log)
        """How much of the log is on the disk for certain: what was there when it was opened."""
        self._begun = 0
        process.machine.world.disks.opened(self)

    def execute(self, sql, parameters=(), /):
        if self.process.is_dead:
            raise ProcessKilled
        if sql[0] in "BCP":
            head = sql[:6]
            if head == "BEGIN ":
                self._begun = self.total_changes
            elif head == "COMMIT" and self.total_changes != self._begun:
                return self._commit()
            elif head == "PRAGMA" and sql.startswith("PRAGMA synchronous"):
                self.is_full_sync = "FULL" in sql
        return _execute(self, sql, parameters)

    @property
    def in_transaction(self):
        if self.process.is_dead:
            raise ProcessKilled
        return super().in_transaction

    def _commit(self):
        machine = self.process.machine
        if machine.is_disk_full:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            error.sqlite_errorname = "SQLITE_FULL"
            raise error
        doom = machine.doom
        if doom is None or not doom.takes(self):
            done = _execute(self, "COMMIT")
            if self.is_full_sync:
                self.synced_bytes = _size(self._log)
            return done
        before = _content(_log_of(self.path))
        done = _execute(self, "COMMIT")
        after = _content(_log_of(self.path))
        synced = (before or b"")[: self.synced_bytes]
        torn = _torn(synced, after, machine.moments)
        machine.doom = None
        machine.power_off(self.process, {self.path: (_content(self.path), torn)})
        raise ProcessKilled
        return done

    def close(self):
        self.process.connections.pop(id(self), None)
        super().close()


class Doom:
    """The next commit of a machine (of a file whose name holds `word`) is its last."""

    def __init__(self, word=""):
        self._word = word

    def takes(self, connection):
        return self._word in connection.path.name or self._word in str(connection.path)


class Disks:
    """All files of a simulation, and who has them open."""

    def opened(self, connection):
        connection.process.connections[id(connection)] = connection

    def images(self, process, *, is_power_lost):
        """Return the files that a process leaves behind, by path: (database, log)."""
        found = {}
        for connection in process.connections.values():
            if connection.is_read_only:
                continue
            log = _content(_log_of(connection.path))
            if is_power_lost:
                log = _unsynced_lost(connection, log)
            found[connection.path] = (_content(connection.path), log)
        return found

    def end(self, process, images):
        """Close a dead process's connections, and leave the files as they were."""
        process.machine.world.let_go(process.machine)
        connections, process.connections = dict(process.connections), {}
        for connection in connections.values():
            with suppress(sqlite3.Error):
                sqlite3.Connection.rollback(connection)
            with suppress(sqlite3.Error):
                sqlite3.Connection.close(connection)
        for path, (database, log) in images.items():
            if any(self._has_open(other, path) for other in process.machine.world.processes):
                continue
            path.with_name(path.name + "-shm").unlink(missing_ok=True)
            if database is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(database)
            if log:
                _log_of(path).write_bytes(log)
            else:
                _log_of(path).unlink(missing_ok=True)

    @staticmethod
    def _has_open(process, path):
        return any(c.path == path for c in process.connections.values())


def _unsynced_lost(connection, log):
    if log is None:
        return None
    kept = min(connection.synced_bytes, len(log))
    moments = connection.process.machine.moments
    return _torn(log[:kept], log, moments) if len(log) > kept else log


def _torn(before, after, moments):
    """Return a log of which only a part of what follows `before` has reached the disk."""
    before, after = before or b"", after or b""
    same = _common(before, after)
    if len(after) <= same:
        return after
    cut = moments.randrange(same, len(after) + 1)
    if moments.random() < 0.5:
        cut -= cut % SECTOR_BYTES
        cut = max(cut, same)
    torn = after[:cut] + before[cut:]
    if moments.random() < 0.3 and cut > same:
        garbage = moments.randbytes(min(SECTOR_BYTES, cut - same))
        torn = torn[: cut - len(garbage)] + garbage + torn[cut:]
    return torn


def _common(one, other):
    size = min(len(one), len(other))
    if one[:size] == other[:size]:
        return size
    low = 0
    while low < size and one[low : low + 4096] == other[low : low + 4096]:
        low += 4096
    while low < size and one[low] == other[low]:
        low += 1
    return low


def _log_of(path):
    return path.with_name(path.name + "-wal")


def _size(path):
    try:
        return os.stat(path).st_size  # noqa: PTH116  (asked after every commit: a Path is slow)
    except FileNotFoundError:
        return 0


def _content(path):
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _connect(database, *arguments, **named):
    process = PROCESS.get()
    if running() is None or process is None:
        return _real_connect(database, *arguments, **named)
    connection = _real_connect(database, *arguments, factory=SeededConnection, **named)
    text = str(database)
    path, is_read_only = Path(text), False
    if text.startswith("file:"):
        parts = urlsplit(text)
        path, is_read_only = Path(unquote(parts.path)), "mode=ro" in parts.query
    connection.adopt(process, path, is_read_only=is_read_only)
    return connection


sqlite3.connect = _connect
