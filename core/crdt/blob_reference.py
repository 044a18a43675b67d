"""Blob reference: the latest attachment wins; the bytes themselves travel elsewhere.

An LWW-register (Shapiro et al. 2011, section 3.2.1) that names content by its hash. Payload:
{"sha256": 64 hex digits, "size": bytes, "type": media type} or null. State: [h, n, payload].
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from core import values
from core.crdt.field import Register
from core.errors import DeclarationError, FieldError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.crdt.field import Payload, State

BLOB_BYTES_MAX: Final = 2**30
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_MEDIA_TYPE = re.compile(
    r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,63}", re.ASCII
)
_KEYS = frozenset({"sha256", "size", "type"})


@dataclass(frozen=True, slots=True)
class Blob:
    """Content named by its SHA-256 (lower-case hex), its size and its media type."""

    sha256: str
    size_bytes: int
    media_type: str


class BlobReference(Register[Blob | None]):
    """An attachment of at most `bytes_max` bytes, or null."""

    kind = "blob_reference"
    scalar_name = "json"
    is_nullable = True

    def __init__(
        self, *, bytes_max: int = BLOB_BYTES_MAX, write: Iterable[str] | None = None
    ) -> None:
        if not 0 < bytes_max <= BLOB_BYTES_MAX:
            raise DeclarationError(f"bytes_max is within 1..{BLOB_BYTES_MAX}")
        super().__init__(default=None, write=write)
        self.bytes_max = bytes_max

    def parse(self, payload: object) -> dict[str, Any] | None:
        """Validate a reference or null."""
        if payload is None:
            return None
        members = values.mapping(payload, keys=_KEYS)
        if len(members) != len(_KEYS):
            raise FieldError("wrong-keys", "a blob reference holds sha256, size and type")
        sha256, media_type = members["sha256"], members["type"]
        if not isinstance(sha256, str) or _HASH.fullmatch(sha256) is None:
            raise FieldError("bad-hash", "sha256 is 64 lower-case hex digits")
        if not isinstance(media_type, str) or _MEDIA_TYPE.fullmatch(media_type) is None:
            raise FieldError("bad-media-type", "type is a lower-case media type")
        size = values.integer(members["size"], low=0, high=self.bytes_max)
        return {"sha256": sha256, "size": size, "type": media_type}

    def value(self, state: State) -> Blob | None:
        """Return the reference, or None."""
        return self.default if state is None else _blob(state[2])

    def proposed(self, payload: Payload) -> Blob | None:
        """Return the reference a change proposes."""
        return _blob(payload)

    def describe(self) -> dict[str, Any]:
        """Return the size limit."""
        return {"bytes_max": self.bytes_max}


def _blob(members: dict[str, Any] | None) -> Blob | None:
    if members is None:
        return None
    return Blob(sha256=members["sha256"], size_bytes=members["size"], media_type=members["type"])
