"""Checking that a device has its key: timely, never seen before, signed (core.identity.proofs)."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from core.identity.proofs import (
    CLOCK_DIFFERENCE_S_MAX,
    Proof,
    is_timely,
    is_weak,
    signed_bytes,
)
from edge.errors import ClockApart, InvalidGrant

if TYPE_CHECKING:
    from collections.abc import Callable

PROOFS_REMEMBERED_MAX: Final = 200_000
"""Some 40 MB at most: 300 proofs a second for as long as they are good. Beyond it the oldest are
forgotten; what replaying one gives is an access token of ten minutes."""
PUBLIC_KEY_BYTES: Final = 32
_REFUSED: Final = "The proof is not this device's."


class Proofs:
    """Verifies proofs and remembers them for as long as they would be good."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._seen: OrderedDict[bytes, float] = OrderedDict()

    def verify(self, public: bytes, proof: Proof, *, purpose: str, subject: str) -> None:
        """Raise InvalidGrant, or ClockApart for a proof of another time or one seen before."""
        now = self._clock()
        if len(public) != PUBLIC_KEY_BYTES or is_weak(public):
            raise InvalidGrant(_REFUSED)
        message = signed_bytes(
            purpose, subject=subject, at_unix_s=proof.at_unix_s, nonce=proof.nonce
        )
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(proof.signature, message)
        except (InvalidSignature, ValueError):
            raise InvalidGrant(_REFUSED) from None
        if not is_timely(proof, now_unix_s=int(now)):
            raise ClockApart("The device's clock is apart from the node's.", now_unix_s=int(now))
        self._remember(proof.signature, now)

    def _remember(self, signature: bytes, now: float) -> None:
        if signature in self._seen:
            # No InvalidGrant: a proxy that repeats a request must not cost a session.
            raise ClockApart("The proof was used before: make another.", now_unix_s=int(now))
        self._seen[signature] = now + 2 * CLOCK_DIFFERENCE_S_MAX
        while self._seen:
            oldest = next(iter(self._seen))
            if self._seen[oldest] > now and len(self._seen) <= PROOFS_REMEMBERED_MAX:
                break
            del self._seen[oldest]
