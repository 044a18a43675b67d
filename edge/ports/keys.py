"""The ports to the keys that sign and verify tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from core.identity.keys import Authority


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key and the id that tokens name it by."""

    kid: str
    private: Ed25519PrivateKey


@dataclass(frozen=True, slots=True, eq=False)
class TrustedKey:
    """A key that verifies: whose it is ("" for an operator's own) and what it may sign."""

    public: Ed25519PublicKey
    node: str = ""
    authority: Authority = field(default_factory=Authority)


class KeyStore(Protocol):
    """Where an operator's keys are kept; one that is taken out no longer verifies anything."""

    def public_keys(self) -> Mapping[str, Ed25519PublicKey]:
        """Return every key that verifies tokens, by its id."""
        ...

    def development_key(self) -> SigningKey:
        """Return the operator's own key for minted tokens; make it when there is none."""
        ...


class PrivateKeys(Protocol):
    """The private halves of this node's signing keys; they never leave the node."""

    def make(self, node: str) -> SigningKey:
        """Make and keep a new key; its id begins with the node's name."""
        ...

    def private_key(self, kid: str) -> SigningKey | None:
        """Return a kept key."""
        ...

    def forget(self, kid: str) -> None:
        """Drop a key."""
        ...
