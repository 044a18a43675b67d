"""Identifiers: one NewType per kind, their form, and how new ones are made.

Device numbers: 0 in a payload means "the author itself" (a phone that has never been online does
not know its number yet), 1 is the primary, phones start at FIRST_DEVICE.
"""

from __future__ import annotations

import re
from typing import Final, NewType

from core.errors import IdentifierError

TenantId = NewType("TenantId", str)
SpaceId = NewType("SpaceId", str)
PersonId = NewType("PersonId", str)
RowId = NewType("RowId", str)
InstallationId = NewType("InstallationId", str)
CollectionName = NewType("CollectionName", str)
FieldName = NewType("FieldName", str)
DeviceNumber = NewType("DeviceNumber", int)
MutationCounter = NewType("MutationCounter", int)
Sequence = NewType("Sequence", int)

SELF: Final = DeviceNumber(0)
PRIMARY: Final = DeviceNumber(1)
FIRST_DEVICE: Final = DeviceNumber(2)
DEVICE_NUMBER_MAX: Final = 2**32 - 1
INTEGER_MAX: Final = 2**53 - 1
"""The largest integer that JSON, JavaScript and SQLite all hold exactly."""

ID_LENGTH_MAX: Final = 64
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}", re.ASCII)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}", re.ASCII)
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def is_id(value: str) -> bool:
    """Tell whether `value` may name a row, space, person, tenant or installation."""
    return _ID.fullmatch(value) is not None


def is_name(value: str) -> bool:
    """Tell whether `value` may name a collection, field, role or app (a safe SQL identifier)."""
    return _NAME.fullmatch(value) is not None and "__" not in value


def require_id(value: str, *, kind: str) -> str:
    """Return `value` if it is a well-formed id, else raise IdentifierError naming its `kind`."""
    if _ID.fullmatch(value) is None:
        raise IdentifierError(kind=kind, value=value)
    return value


def new_row_id(*, now_ms: int, entropy: bytes) -> RowId:
    """Make a time-ordered 26-character id: 48 bits of Unix milliseconds, then 80 random bits.

    The order keeps inserts next to each other in the primary key (after ULID; Crockford base 32,
    lower case). `entropy` is 10 random bytes from the caller.
    """
    if len(entropy) != 10:  # noqa: PLR2004  (80 bits, said above)
        raise IdentifierError(kind="entropy", value=entropy)
    number = ((now_ms & (2**48 - 1)) << 80) | int.from_bytes(entropy, "big")
    return RowId("".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5)))
