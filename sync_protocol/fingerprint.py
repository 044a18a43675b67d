"""Fingerprints: 16 hexadecimal characters over what both sides must agree on."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from core.schema.app import App

_canonical = msgspec.json.Encoder(order="deterministic").encode


def fingerprint(app: App) -> str:
    """Return the fingerprint of an app's declaration; equal fingerprints sync without lenses."""
    return fingerprint_of(app.describe())


def fingerprint_of(described: dict[str, Any]) -> str:
    """Return 64 bits of BLAKE2b, in hexadecimal, of JSON with sorted keys and no spaces."""
    return blake2b(_canonical(described), digest_size=8).hexdigest()
