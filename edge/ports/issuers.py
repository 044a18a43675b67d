"""The port to other issuers of identities (OpenID Connect Core 1.0): verified ID tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Issuer:
    """An issuer that is trusted, by its exact `iss`, and the client ids it must issue for.

    `jwks_url` None: found by OpenID Connect Discovery 1.0, under /.well-known.
    """

    issuer: str
    audiences: tuple[str, ...]
    jwks_url: str | None = None


@dataclass(frozen=True, slots=True)
class IssuedIdentity:
    """Who somebody is to an issuer: (issuer, subject) is unique and stays, the rest may change."""

    issuer: str
    subject: str
    email: str | None
    is_email_verified: bool
    name: str | None


class IdTokens(Protocol):
    """Verifies ID tokens of the issuers that the node trusts."""

    async def verify(self, token: str, *, nonce: str) -> IssuedIdentity:
        """Return whom the token speaks of, if it was issued for `nonce`.

        Raises InvalidGrant, with one wording for everything that is wrong with a token, and
        Unavailable when the issuer's keys are out of reach and none are remembered.
        """
        ...

    async def close(self) -> None:
        """Let go of what is open; nothing is verified afterwards."""
        ...
