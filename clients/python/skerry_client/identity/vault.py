"""Where a phone keeps its key and refresh token: a file, or whatever the platform offers."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import msgspec

from skerry_client.errors import VaultUnreadable


class TokenStore(Protocol):
    """Keeps one small document of text and numbers; a platform's keychain can stand behind it."""

    def load(self) -> dict[str, Any] | None:
        """Return what was saved last, None when there is nothing."""
        ...

    def save(self, document: dict[str, Any], /) -> None:
        """Replace the document; it is durable when this returns, and the old one stays if not."""
        ...

    def clear(self) -> None:
        """Forget the document."""
        ...


class FileTokenStore:
    """A JSON file that only its owner can read, replaced as a whole."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._prefix = f".{self._path.name}."

    def load(self) -> dict[str, Any] | None:
        """Read the file; raises OSError, VaultUnreadable."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            return msgspec.json.decode(content, type=dict[str, Any])
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as problem:
            raise VaultUnreadable(reason=str(problem)) from problem

    def save(self, document: dict[str, Any], /) -> None:
        """Write beside the file, sync, rename, sync the folder; raises OSError."""
        folder = self._path.parent
        descriptor, written = tempfile.mkstemp(prefix=self._prefix, dir=folder)  # mode 0600
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.encode(document))
                file.flush()
                os.fsync(file.fileno())
            Path(written).replace(self._path)
        except BaseException:
            with suppress(OSError):
                Path(written).unlink()
            raise
        _sync_folder(folder)

    def clear(self) -> None:
        """Delete the file, and what a crash has left beside it."""
        for leftover in self._path.parent.glob(f"{self._prefix}*"):
            leftover.unlink(missing_ok=True)
        self._path.unlink(missing_ok=True)
        _sync_folder(self._path.parent)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return  # elsewhere folders cannot be opened
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
