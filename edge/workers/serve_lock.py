"""One node per data folder: a lock file that also says where the running node listens."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Final, Self

from edge.errors import Unavailable

if TYPE_CHECKING:
    from pathlib import Path

NAME: Final = "node.lock"
ADDRESS_BYTES_MAX: Final = 512


class DataLock:
    """Held while a process writes into the folder; the kernel frees it when the process ends."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._descriptor: int | None = None

    def take(self) -> bool:
        """Take the lock; False when another process has it."""
        assert self._descriptor is None, "the lock is held already"
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        os.ftruncate(descriptor, 0)
        self._descriptor = descriptor
        return True

    def publish(self, address: str) -> None:
        """Write where this node listens, for commands that want to talk to it."""
        assert self._descriptor is not None, "only the holder publishes"
        os.pwrite(self._descriptor, address.encode() + b"\n", 0)

    def address(self) -> str | None:
        """Return where the node that holds the lock listens, if it has said so."""
        try:
            return self._path.read_bytes()[:ADDRESS_BYTES_MAX].decode().strip() or None
        except (FileNotFoundError, UnicodeDecodeError):
            return None

    def release(self) -> None:
        """Give the lock back."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        if not self.take():
            where = self.address() or "an address it has not published yet"
            raise Unavailable(f"Another node uses {self._path.parent}; it listens on {where}.")
        return self

    def __exit__(self, *_error: object) -> None:
        self.release()
