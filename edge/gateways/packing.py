"""Files as objects: compressed with zstd and, with a key, sealed with AES-256-GCM in chunks.

A sealed file is `MAGIC`, a random salt, then chunks of CHUNK_BYTES with a tag each. Every file has
a key of its own (HKDF-SHA256, RFC 5869, of the backup key and the salt), so that a counter can be
the nonce; its last byte marks the last chunk (the STREAM construction of Hoang et al., 2015).

Invariants
  P1  chunks cannot be changed, reordered, dropped or cut off unnoticed, nor used under another name
  P2  memory is bounded by the chunk, whatever the file's size
"""

from __future__ import annotations

import hmac
import io
import os
from hashlib import sha256
from typing import IO, TYPE_CHECKING, Any, Final, cast

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from edge.ports.backups import BackupDamaged, Packed

if TYPE_CHECKING:
    from pathlib import Path

MAGIC: Final = b"SKSEAL1\n"
SALT_BYTES: Final = 16
KEY_BYTES: Final = 32
TAG_BYTES: Final = 16
CHUNK_BYTES: Final = 1 << 20
"""A tag for each MiB costs nothing, and a MiB is all that is held unverified."""
LEVEL: Final = 3
"""zstd's own default: a third of the size at some 300 MB/s."""


def read_key(path: Path) -> bytes:
    """Read a key file: 32 bytes, or 64 hexadecimal digits; raises ValueError, OSError."""
    content = path.read_bytes()
    if len(content) == KEY_BYTES:
        return content
    try:
        key = bytes.fromhex(content.decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError("a key file holds 32 bytes, or 64 hexadecimal digits")
    return key


class FilePacker:
    """The Packer port; `key` None: nothing is sealed."""

    def __init__(self, key: bytes | None) -> None:
        assert key is None or len(key) == KEY_BYTES, "a key has 32 bytes"
        self._key = key

    @property
    def is_sealing(self) -> bool:
        """Whether there is a key."""
        return self._key is not None

    def pack(self, source: Path, target: Path, *, name: str) -> Packed:
        """Pack a file into a new one."""
        digest, size_bytes = sha256(), 0
        with source.open("rb") as plain, _new_file(target) as packed:
            sealer = None if self._key is None else _Sealer(packed, self._key, name)
            compressor = zstandard.ZstdCompressor(level=LEVEL)
            with compressor.stream_writer(
                cast("IO[bytes]", sealer or packed), closefd=False
            ) as out:
                while chunk := plain.read(CHUNK_BYTES):
                    digest.update(chunk)
                    size_bytes += len(chunk)
                    out.write(chunk)
            if sealer is not None:
                sealer.finish()
        return Packed(digest.hexdigest(), size_bytes, target.stat().st_size)

    def unpack(self, source: Path, target: Path, *, name: str, size_bytes: int) -> Packed:
        """Unpack a file into a new one; raises BackupDamaged."""
        digest, count = sha256(), 0
        with source.open("rb") as packed, _new_file(target) as plain:
            opened = (
                packed
                if self._key is None
                else io.BufferedReader(cast("Any", _Opener(packed, self._key, name)), CHUNK_BYTES)
            )
            try:
                with zstandard.ZstdDecompressor().stream_reader(opened, closefd=False) as out:
                    while chunk := out.read(CHUNK_BYTES):
                        count += len(chunk)
                        if count > size_bytes:
                            raise BackupDamaged(f"{name} is longer than it was.")
                        digest.update(chunk)
                        plain.write(chunk)
            except zstandard.ZstdError as error:
                raise BackupDamaged(
                    f"{name} cannot be unpacked: it is damaged, or sealed with a key."
                ) from error
        return Packed(digest.hexdigest(), count, source.stat().st_size)

    def sign(self, content: bytes) -> str:
        """Return the HMAC-SHA256 of a manifest."""
        if self._key is None:
            return ""
        key = _derived(self._key, b"", b"skerry backup manifest")
        return hmac.new(key, content, sha256).hexdigest()


class _Sealer(io.RawIOBase):
    """A file to write to, whose content goes on sealed; it ends with `finish`."""

    def __init__(self, target: IO[bytes], key: bytes, name: str) -> None:
        super().__init__()
        salt = os.urandom(SALT_BYTES)
        target.write(MAGIC + salt)
        self._target = target
        self._cipher = AESGCM(_derived(key, salt, b"skerry backup file"))
        self._name = name.encode()
        self._pending = bytearray()
        self._count = 0

    def writable(self) -> bool:
        return True

    def write(self, data: bytes, /) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        self._pending += data
        # The last chunk is marked, so one is kept back until it is known whether more follows.
        while len(self._pending) > CHUNK_BYTES:
            self._seal(bytes(self._pending[:CHUNK_BYTES]), is_last=False)
            del self._pending[:CHUNK_BYTES]
        return len(data)

    def finish(self) -> None:
        self._seal(bytes(self._pending), is_last=True)
        self._pending.clear()

    def _seal(self, chunk: bytes, *, is_last: bool) -> None:
        nonce = _nonce(self._count, is_last=is_last)
        self._target.write(self._cipher.encrypt(nonce, chunk, self._name))
        self._count += 1


class _Opener(io.RawIOBase):
    """A file to read from, whose content is verified before it is handed out."""

    def __init__(self, source: IO[bytes], key: bytes, name: str) -> None:
        super().__init__()
        head = source.read(len(MAGIC) + SALT_BYTES)
        if not head.startswith(MAGIC) or len(head) != len(MAGIC) + SALT_BYTES:
            raise BackupDamaged(f"{name} is not sealed.")
        self._source = source
        self._cipher = AESGCM(_derived(key, head[len(MAGIC) :], b"skerry backup file"))
        self._name = name
        self._count = 0
        self._next = source.read(CHUNK_BYTES + TAG_BYTES)
        self._ready = b""
        self._is_over = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray, /) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        while not self._ready and not self._is_over:
            self._open()
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def _open(self) -> None:
        sealed, self._next = self._next, self._source.read(CHUNK_BYTES + TAG_BYTES)
        self._is_over = not self._next
        try:
            self._ready = self._cipher.decrypt(
                _nonce(self._count, is_last=self._is_over), sealed, self._name.encode()
            )
        except InvalidTag as error:
            raise BackupDamaged(
                f"{self._name} cannot be opened: it was changed, or the key is another one."
            ) from error
        self._count += 1


def _derived(key: bytes, salt: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), length=KEY_BYTES, salt=salt, info=purpose).derive(key)


def _nonce(count: int, *, is_last: bool) -> bytes:
    return count.to_bytes(11, "big") + (b"\x01" if is_last else b"\x00")


def _new_file(path: Path) -> IO[bytes]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    return open(descriptor, "wb")  # noqa: PTH123  (a descriptor; callers close it)
