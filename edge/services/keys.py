"""An operator's own keys, which are files beside the node, read again when they may have changed.

They sign what `skerry token` prints, and what an issuer outside Skerry signs for this node; nodes'
own keys are in the control database (edge.services.identity.trust).
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Final, Protocol

from edge.ports.keys import TrustedKey

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge.ports.keys import KeyStore
    from edge.services.session import Principal

KEYS_AGE_S_MAX: Final = 5.0
"""A key that was added or taken out counts after at most this long."""
KID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


class TokenTrust(Protocol):
    """What verifying a token needs to know: keys, and what has been taken back."""

    def find(self, kid: str) -> TrustedKey | None:
        """Return the key that tokens naming `kid` are verified with, if there is one."""
        ...

    def require_good(self, principal: Principal, key: TrustedKey) -> None:
        """Raise when what the token stands for was revoked, suspended or is not the key's to say.

        Called for every request, cached tokens too. Raises Unauthenticated or Forbidden.
        """
        ...


class KeyRing:
    """Public keys by id; unknown ids cost a dictionary look-up, not a read of the store."""

    def __init__(self, store: KeyStore, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._keys: Mapping[str, TrustedKey] = {}
        self._read_at: float | None = None

    def find(self, kid: str) -> TrustedKey | None:
        """Return the key that tokens naming `kid` are verified with, if there is one."""
        now = self._clock()
        if self._read_at is None or now - self._read_at >= KEYS_AGE_S_MAX:
            self._read_at = now
            known = self._keys
            self._keys = {
                name: before
                if (before := known.get(name)) is not None and before.public is public
                else TrustedKey(public)
                for name, public in self._store.public_keys().items()
            }
        return self._keys.get(kid)

    def require_good(self, principal: Principal, key: TrustedKey) -> None:
        """Accept: without a control database there is nothing to take back."""
