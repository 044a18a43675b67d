"""What backups need from outside: an object store, a data folder to copy, and a packer of files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from edge.errors import EdgeError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class BackupDamaged(EdgeError):
    """A backup, or a file of it, is not what was written: changed, cut off, or of another key."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object of a store; `path` is below the store's prefix."""

    path: str
    size_bytes: int
    changed_ms: int


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a data folder; `path` is below the folder, with `/` between its parts."""

    path: str
    is_database: bool


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """What a copy of a tenant's database tells of itself; None where a database has no such fact.

    `has_bytes` is false for a file that was gone before it could be copied.
    """

    database: str | None = None
    sequence: int | None = None
    app: str | None = None
    has_bytes: bool = True


@dataclass(frozen=True, slots=True)
class Packed:
    """The SHA-256 and the size of a file before it was packed, and the packed size."""

    sha256: str
    size_bytes: int
    packed_bytes: int


class ObjectStore(Protocol):
    """Objects by path. Raises NotFound, and Unavailable for everything that may pass."""

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine."""
        ...

    async def put(self, path: str, source: Path) -> None:
        """Store a file, whole or not at all."""
        ...

    async def put_bytes(self, path: str, content: bytes) -> None:
        """Store a small object, whole or not at all."""
        ...

    async def get(self, path: str, *, bytes_max: int) -> bytes:
        """Return a small object; raises BackupDamaged when it is larger than `bytes_max`."""
        ...

    async def download(self, path: str, target: Path) -> None:
        """Write an object into a new file that only its owner may read."""
        ...

    async def list(self, prefix: str) -> list[StoredObject]:
        """Return the objects below a prefix, by path."""
        ...

    async def delete(self, paths: Sequence[str]) -> None:
        """Delete objects; those that are gone already are no error."""
        ...


class BackupSource(Protocol):
    """A data folder. Everything blocks: callers run it off the event loop."""

    def files(self) -> list[SourceFile]:
        """Return what a backup holds, in the order in which it is to be copied."""
        ...

    def copy(self, file: SourceFile, target: Path) -> DatabaseFacts:
        """Write a consistent copy of one file; raises StorageBusy, StorageFull."""
        ...


class Packer(Protocol):
    """Compresses files, and seals them when it has a key. Everything blocks."""

    @property
    def is_sealing(self) -> bool:
        """Whether what it packs can be read with its key only."""
        ...

    def pack(self, source: Path, target: Path, *, name: str) -> Packed:
        """Pack a file under a name that is needed to unpack it."""
        ...

    def unpack(self, source: Path, target: Path, *, name: str, size_bytes: int) -> Packed:
        """Unpack a file into a new one; raises BackupDamaged.

        It stops when more than `size_bytes` come out.
        """
        ...

    def sign(self, content: bytes) -> str:
        """Return a code that only the key's holders can make; empty without a key."""
        ...
