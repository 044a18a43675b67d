"""The manifest: what says that a backup is one. It is written last, and read with suspicion.

`{"manifest": {...}, "code": "..."}`: with a key, `code` is the HMAC of the manifest's bytes, so
that nobody without the key can leave a file out of a backup or put an older one in its place.
"""

from __future__ import annotations

import hmac
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

from core.ids import is_id
from edge.ports.backups import BackupDamaged

if TYPE_CHECKING:
    from edge.ports.backups import Packer

FORMAT: Final = 1
MANIFEST_BYTES_MAX: Final = 32 << 20
"""Some 100,000 tenants at 300 bytes each."""
_NAME: Final = re.compile(r"\d{8}T\d{6}\d{3}Z-[0-9a-f]{8}", re.ASCII)
_KEY_FILE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}\.(pem|pub)", re.ASCII)
_DATABASE_FILE: Final = re.compile(r"[a-z]{1,32}\.db", re.ASCII)
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
KEYS: Final = "keys"
TENANTS: Final = "tenants"
SUFFIX: Final = ".db"


class BackedUpFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file: its path in the data folder, and what it was before it was packed."""

    path: str
    sha256: str
    size_bytes: int
    packed_bytes: int
    database: str | None = None
    """The database's id and the last sequence in the copy; None for what has none."""
    sequence: int | None = None

    @property
    def is_database(self) -> bool:
        """Whether it is an SQLite file."""
        return self.path.endswith(SUFFIX)

    @property
    def tenant(self) -> str | None:
        """The tenant whose database it is."""
        folder, _, name = self.path.rpartition("/")
        return name.removesuffix(SUFFIX) if folder == TENANTS else None


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """One whole backup; `made_ms` is when its first copy was begun (Unix ms)."""

    format: int
    name: str
    made_ms: int
    app: str | None
    node: str
    is_sealed: bool
    files: list[BackedUpFile]


class _Signed(msgspec.Struct):
    manifest: msgspec.Raw
    code: str


def new_name(now_ms: int, entropy: bytes) -> str:
    """Name a backup by its time, so that names sort by it; `entropy` is 4 random bytes."""
    whole = datetime.fromtimestamp(now_ms / 1_000, UTC)
    return f"{whole:%Y%m%dT%H%M%S}{now_ms % 1_000:03}Z-{entropy.hex()}"


def is_backup_name(name: str) -> bool:
    """Tell whether a backup may have this name."""
    return _NAME.fullmatch(name) is not None


def encode_manifest(manifest: Manifest, packer: Packer) -> bytes:
    """Write a manifest, signed when there is a key."""
    content = msgspec.json.encode(manifest)
    return msgspec.json.encode(_Signed(msgspec.Raw(content), packer.sign(content)))


def decode_manifest(content: bytes, name: str, packer: Packer) -> Manifest:
    """Read a manifest; raises BackupDamaged unless it can be trusted to name files."""
    try:
        signed = msgspec.json.decode(content, type=_Signed)
        manifest = msgspec.json.decode(signed.manifest, type=Manifest)
    except (msgspec.MsgspecError, ValueError) as error:
        raise BackupDamaged(f"The manifest of {name} cannot be read: {error!s:.200}") from error
    if manifest.format > FORMAT:
        raise BackupDamaged(f"{name} has format {manifest.format}; this program knows {FORMAT}.")
    if manifest.is_sealed and not packer.is_sealing:
        raise BackupDamaged(f"{name} is sealed: its key is needed (SKERRY_BACKUP_KEY).")
    if packer.is_sealing and not manifest.is_sealed:
        raise BackupDamaged(f"{name} is not sealed: leave SKERRY_BACKUP_KEY out to read it.")
    if not hmac.compare_digest(signed.code, packer.sign(bytes(signed.manifest))):
        raise BackupDamaged(f"The manifest of {name} was changed, or the key is another one.")
    if manifest.name != name or not all(map(_is_sound, manifest.files)):
        raise BackupDamaged(f"The manifest of {name} names what no backup holds.")
    return manifest


def _is_sound(file: BackedUpFile) -> bool:
    folder, _, name = file.path.rpartition("/")
    is_known = (
        (folder == KEYS and _KEY_FILE.fullmatch(name) is not None)
        or (folder == TENANTS and name.endswith(SUFFIX) and is_id(name.removesuffix(SUFFIX)))
        or (not folder and "/" not in file.path and _DATABASE_FILE.fullmatch(name) is not None)
    )
    return is_known and file.size_bytes >= 0 and _SHA256.fullmatch(file.sha256) is not None
