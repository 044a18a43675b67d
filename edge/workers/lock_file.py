"""A lock that a process holds, or hands to a child: the kernel frees it with the last holder."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class LockFile:
    """An exclusive `flock`; a child that inherits the descriptor holds it as well."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    @property
    def descriptor(self) -> int:
        """The descriptor of a lock that is held, to be passed to a child."""
        assert self._descriptor is not None, "only a lock that is held has a descriptor"
        return self._descriptor

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
        self._descriptor = descriptor
        return True

    def is_free(self) -> bool:
        """Whether nobody holds the lock right now."""
        if not self.take():
            return False
        self.release()
        return True

    def release(self) -> None:
        """Give up this process's share of the lock; a child that has one keeps it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
