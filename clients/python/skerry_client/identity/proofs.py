"""The device's Ed25519 key (RFC 8032) and the proofs it makes (core.identity.proofs)."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.identity.proofs import signed_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 24
"""Thirty-two characters of the 16 to 64 that a nonce may have; two never meet."""


class DeviceKey:
    """A private key that never leaves the device; what is sent is the public one, and proofs."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._key = Ed25519PrivateKey.from_private_bytes(secret)

    @classmethod
    def generate(cls, entropy: Callable[[int], bytes]) -> DeviceKey:
        """Make a new key."""
        return cls(entropy(KEY_BYTES))

    @classmethod
    def parse(cls, text: str) -> DeviceKey:
        """Read what `text` wrote; raises ValueError."""
        return cls(urlsafe_b64decode(text + "=" * (-len(text) % 4)))

    def text(self) -> str:
        """Return the private key as a vault keeps it (base64url)."""
        return _base64url(self._secret)

    @property
    def public(self) -> str:
        """The public key (base64url), which names the device to the server."""
        return _base64url(self._key.public_key().public_bytes_raw())

    def prove(
        self, purpose: str, *, subject: str, at_unix_s: int, entropy: Callable[[int], bytes]
    ) -> dict[str, Any]:
        """Return a proof as requests carry it; every request needs a new one."""
        nonce = _base64url(entropy(NONCE_BYTES))
        message = signed_bytes(purpose, subject=subject, at_unix_s=at_unix_s, nonce=nonce)
        signature = _base64url(self._key.sign(message))
        return {"at": at_unix_s, "nonce": nonce, "signature": signature}


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
