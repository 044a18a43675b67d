"""The table of rate limits: one file that all processes of a node map into their memory.

A header and 8,192 sets of 8 slots; a slot is a key and a theoretical arrival time. A key belongs to
one set, so that finding it is one look at 128 bytes. When its set is full it takes the place of the
slot whose arrival is the earliest: the one that remembers the least. Keys of short periods (pushes)
therefore never drive out those of long ones that are in use (logins).

The file is made anew at every start of the node. SQLite is no place for this: before 3.51.3 its WAL
can be corrupted by two writing connections, and a charge must cost microseconds.

Invariants
  M1  one process at a time charges; the kernel frees the lock of a process that dies
  M2  all charges of a request are counted, or none
  M3  time never goes back between two charges, though processes read the clock before they wait
      for the lock: a charge happens at the latest time anybody has brought, or at its own
  M4  a process killed amid a charge leaves at worst its own request half counted
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import threading
import time
from typing import TYPE_CHECKING, Final

from core.identity.limits import admit
from edge.errors import Overloaded, Unavailable
from edge.ports.limits import CHARGES_MAX, KEY_BYTES, Charge

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SLOTS: Final = 65_536
"""1.5 MiB. Subjects whose limits still remember something at one moment; more forget the oldest."""
SET_SLOTS: Final = 8
LOCK_TRIES_MAX: Final = 2_000
"""About a third of a second. A holder needs microseconds, or milliseconds when it loses its core
meanwhile; one that takes longer is stopped, and the loop must not stop with it."""
YIELDS_MAX: Final = 20
"""Tries that only give the core away; later ones sleep."""
LOCK_PAUSE_S: Final = 0.000_1
CLOCK_SLACK_US: Final = 2_000_000
"""How far a charge may be behind the latest one: more than LOCK_TRIES_MAX takes. A charge further
behind means that the clock was set back; then its time is believed."""
_MAGIC: Final = b"SKLIMIT1"
_HEADER_BYTES: Final = 64
_WORD_BYTES: Final = 8
_LATEST_WORD: Final = 2
_HEADER: Final = struct.Struct("=8sqq")
_KEYS_BYTES: Final = SET_SLOTS * KEY_BYTES
_SET_BYTES: Final = _KEYS_BYTES + SET_SLOTS * _WORD_BYTES


class LimitFile:
    """The `LimitTable` of edge.ports.limits; each process opens one, once, after the fork.

    Closing any descriptor of a file drops all locks that the process has on it (POSIX), so nothing
    else in the process may open this file. Raises Unavailable when there is no table at `path`.
    """

    def __init__(self, path: Path) -> None:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise Unavailable(f"{path.name} cannot be opened: {error.strerror}") from None
        size_bytes = os.fstat(descriptor).st_size
        header = os.pread(descriptor, _HEADER.size, 0)
        sets = (size_bytes - _HEADER_BYTES) // _SET_BYTES
        if sets < 1 or header[: len(_MAGIC)] != _MAGIC or size_bytes != _size_bytes(sets):
            os.close(descriptor)
            raise Unavailable(f"{path.name} is not a table of rate limits")
        self._descriptor = descriptor
        self._sets = sets
        self._map = mmap.mmap(descriptor, size_bytes)
        # Whole words are stored at once, so that a killed process leaves none half written.
        self._words = memoryview(self._map).cast("q")
        # A lock of fcntl belongs to the process and keeps no two threads apart.
        self._thread_lock = threading.Lock()

    @classmethod
    def create(cls, path: Path, *, slots: int = SLOTS) -> None:
        """Make an empty table, once per start and before any process opens it.

        It is a new file: cutting the old one short would kill a process that still maps it.
        """
        assert slots > 0, "a table has slots"
        assert slots % SET_SLOTS == 0, "a table has whole sets"
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            # Written out, not left as a hole: a full disk must fail here, not at a later store.
            file.write(bytes(_size_bytes(slots // SET_SLOTS)))
            file.seek(0)
            file.write(_HEADER.pack(_MAGIC, slots, 0))
        draft.replace(path)

    def charge(self, charges: Sequence[Charge], *, now_us: int) -> int:
        """Admit all charges and return 0, or none and return the delay in microseconds."""
        assert len(charges) <= CHARGES_MAX, "a request has few subjects"
        assert len({charge.key for charge in charges}) == len(charges), "each key once"
        with self._thread_lock:
            self._lock()
            try:
                return self._charge(charges, now_us)
            finally:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1)

    def close(self) -> None:
        """Let go of the file; the table stays for the other processes."""
        self._words.release()
        self._map.close()
        os.close(self._descriptor)

    def _lock(self) -> None:
        for attempt in range(LOCK_TRIES_MAX):
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1)
            except (BlockingIOError, PermissionError):
                time.sleep(0 if attempt < YIELDS_MAX else LOCK_PAUSE_S)
            else:
                return
        raise Overloaded("The table of rate limits is held by another process.")

    def _charge(self, charges: Sequence[Charge], now_us: int) -> int:
        latest_us = self._words[_LATEST_WORD]
        if now_us < latest_us <= now_us + CLOCK_SLACK_US:
            now_us = latest_us
        self._words[_LATEST_WORD] = now_us
        delay_us = 0
        known: list[tuple[int, int]] = []
        new: list[tuple[bytes, int]] = []
        for charge in charges:
            word = self._find(charge.key)
            stored_us = 0 if word is None else self._words[word]
            is_admitted, arrival_us, wait_us = admit(
                charge.rate, arrival_us=stored_us, now_us=now_us, cost=charge.cost
            )
            if word is None:
                new.append((charge.key, arrival_us))
            elif is_admitted:
                known.append((word, arrival_us))
            elif arrival_us < stored_us:
                # The clock was set back (G3); the told delay counts from here.
                self._words[word] = arrival_us
            delay_us = max(delay_us, wait_us)
        if delay_us == 0:
            # New keys move others out, so that places found before are used first.
            for word, arrival_us in known:
                self._words[word] = arrival_us
            for key, arrival_us in new:
                self._insert(key, arrival_us)
        return delay_us

    def _find(self, key: bytes) -> int | None:
        """Return the index of the key's arrival in `_words`; None when the key is not there."""
        start = self._start(key)
        end = start + _KEYS_BYTES
        found = self._map.find(key, start, end)
        while found >= 0 and (found - start) % KEY_BYTES:
            found = self._map.find(key, found + 1, end)
        if found < 0:
            return None
        return end // _WORD_BYTES + (found - start) // KEY_BYTES

    def _insert(self, key: bytes, arrival_us: int) -> None:
        start = self._start(key)
        first = (start + _KEYS_BYTES) // _WORD_BYTES
        arrivals_us = self._words[first : first + SET_SLOTS].tolist()
        slot = arrivals_us.index(min(arrivals_us))
        place = start + slot * KEY_BYTES
        self._map[place : place + KEY_BYTES] = key
        self._words[first + slot] = arrival_us

    def _start(self, key: bytes) -> int:
        """Return where the key's set begins, in bytes; keys are hashes, any part of one will do."""
        assert len(key) == KEY_BYTES, "keys are hashes of one length"
        return _HEADER_BYTES + int.from_bytes(key[:8], "little") % self._sets * _SET_BYTES


def _size_bytes(sets: int) -> int:
    return _HEADER_BYTES + sets * _SET_BYTES
