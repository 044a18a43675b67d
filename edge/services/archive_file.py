"""The archive as a file: a ZIP of line-delimited JSON, with a manifest that vouches for it.

Everything here blocks (it compresses and writes): callers run it off the event loop, a page at a
time. The target needs `write` and `flush` only, so an archive may go straight to a socket.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Final
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

MANIFEST: Final = "manifest.json"
_PRIVATE: Final = 0o600 << 16
"""Unpacked entries are for their owner alone: they hold personal data."""


@dataclass(frozen=True, slots=True)
class EntrySummary:
    """What the manifest says of an entry: its lines, its size and its SHA-256, uncompressed."""

    count: int
    size_bytes: int
    sha256: str


class ArchiveFile:
    """Writes entries one after the other; the manifest is the last one."""

    def __init__(self, target: BinaryIO, *, now_ms: int) -> None:
        self._zip = ZipFile(target, "w", ZIP_DEFLATED)
        self._made = datetime.fromtimestamp(now_ms / 1_000, UTC)
        self._encode = msgspec.json.Encoder().encode_lines
        self._entry: IO[bytes] | None = None
        self._name = ""
        self._count = self._size_bytes = 0
        self._hash = sha256()
        self.entries: dict[str, EntrySummary] = {}

    @property
    def made_at(self) -> str:
        """When the archive was begun (ISO 8601, UTC)."""
        return self._made.isoformat()

    def begin(self, name: str) -> None:
        """Begin an entry; its name may occur once."""
        assert self._entry is None, "one entry at a time"
        assert name not in self.entries, "each entry once"
        self._entry = self._open(name)
        self._name, self._count, self._size_bytes, self._hash = name, 0, 0, sha256()

    def write(self, records: Sequence[Any]) -> None:
        """Append records (anything msgspec encodes) to the entry, a line each."""
        assert self._entry is not None, "begin an entry first"
        lines = self._encode(records)
        self._entry.write(lines)
        self._hash.update(lines)
        self._count += len(records)
        self._size_bytes += len(lines)

    def end(self) -> None:
        """End the entry."""
        assert self._entry is not None, "begin an entry first"
        self._entry.close()
        self._entry = None
        self.entries[self._name] = EntrySummary(
            self._count, self._size_bytes, self._hash.hexdigest()
        )

    def finish(self, manifest: dict[str, Any]) -> None:
        """Write the manifest and the directory: only an archive with a manifest is whole."""
        with self._open(MANIFEST) as entry:
            entry.write(msgspec.json.format(msgspec.json.encode(manifest), indent=2))
        self._zip.close()

    def abandon(self) -> None:
        """Let go of the target; what is in it is no archive."""
        if self._entry is not None:
            self._entry.close()
            self._entry = None
        self._zip.close()

    def _open(self, name: str) -> IO[bytes]:
        info = ZipInfo(name, self._made.timetuple()[:6])
        info.compress_type = ZIP_DEFLATED
        info.external_attr = _PRIVATE
        return self._zip.open(info, "w", force_zip64=True)
