"""The port to the keys that sign and verify tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key and the id that tokens name it by."""

    kid: str
    private: Ed25519PrivateKey


class KeyStore(Protocol):
    """Where keys are kept; a key that is taken out no longer verifies anything."""

    def public_keys(self) -> Mapping[str, Ed25519PublicKey]:
        """Return every key that verifies tokens, by its id."""
        ...

    def development_key(self) -> SigningKey:
        """Return the node's own key for minted tokens; make it when there is none."""
        ...
