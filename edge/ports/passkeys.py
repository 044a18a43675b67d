"""The port to passkeys (Web Authentication, W3C Level 2): options for authenticators, and checks.

`credential` is what the phone or browser made of the options: the JSON form of PublicKeyCredential
(Level 3, 5.1: RegistrationResponseJSON, AuthenticationResponseJSON). Whatever is wrong with one
raises InvalidGrant, with one wording.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class NewPasskey:
    """A passkey that was made: its id (at most 1,023 bytes) and its public key (COSE).

    `is_backed_up`: it is copied to the person's other devices.
    """

    credential_id: bytes
    public_key: bytes
    sign_count: int
    is_backed_up: bool


class Passkeys(Protocol):
    """Makes options and verifies what comes of them; a challenge is good for one verification."""

    def registration_options(
        self, *, person: str, name: str, challenge: bytes, present: Sequence[bytes]
    ) -> dict[str, Any]:
        """Return JSON for navigator.credentials.create; `present` are the person's passkey ids."""
        ...

    def verify_registration(self, credential: Mapping[str, Any], *, challenge: bytes) -> NewPasskey:
        """Return the passkey that was made for a challenge."""
        ...

    def sign_in_options(self, *, challenge: bytes) -> dict[str, Any]:
        """Return JSON for navigator.credentials.get; it names nobody."""
        ...

    def credential_id_of(self, credential: Mapping[str, Any]) -> bytes:
        """Return which passkey a credential says it is of; nothing is verified."""
        ...

    def user_of(self, credential: Mapping[str, Any]) -> str | None:
        """Return whom a credential says it is of, if it does; nothing is verified."""
        ...

    def verify_sign_in(
        self,
        credential: Mapping[str, Any],
        *,
        challenge: bytes,
        public_key: bytes,
        sign_count: int,
    ) -> int:
        """Return the new sign count of the passkey that has signed a challenge.

        `sign_count` is the last one seen; one that did not grow means a copied authenticator.
        """
        ...
