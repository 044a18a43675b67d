"""The keys this node takes tokens from, by id, read again when they may have changed."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from edge.ports.keys import KeyStore

KEYS_AGE_S_MAX: Final = 5.0
"""A key that was added or taken out counts after at most this long."""
KID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


class KeyRing:
    """Public keys by id; unknown ids cost a dictionary look-up, not a read of the store."""

    def __init__(self, store: KeyStore, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._keys: Mapping[str, Ed25519PublicKey] = {}
        self._read_at: float | None = None

    def find(self, kid: str) -> Ed25519PublicKey | None:
        """Return the key that tokens naming `kid` are verified with, if there is one."""
        now = self._clock()
        if self._read_at is None or now - self._read_at >= KEYS_AGE_S_MAX:
            self._read_at = now
            self._keys = self._store.public_keys()
        return self._keys.get(kid)
