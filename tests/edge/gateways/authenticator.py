"""A software authenticator: makes passkeys and signs with them as a phone would (WebAuthn)."""

from __future__ import annotations

import hashlib
import json
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

USER_PRESENT, USER_VERIFIED = 0x01, 0x04
BACKUP_ELIGIBLE, BACKED_UP = 0x08, 0x10
ATTESTED = 0x40
ES256, EDDSA, RS256 = -7, -8, -257


def to_base64url(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass
class Passkey:
    """A private key on the authenticator, and what it remembers beside it."""

    id: bytes
    user: bytes
    key: Any
    algorithm: int
    count: int = 0


class SoftAuthenticator:
    """`SoftAuthenticator("example.org", "https://example.org")`; its switches are attributes.

    `origin`, `challenge`, `type`, `rp_id`: what it says instead of the truth. `verifies`: whether
    it asks for a finger. `counts`: whether it keeps a sign count; `next_count` forces the next one.
    `cross_origin`: the page is in another site's frame. `syncs`: passkeys are backed up.
    `attestation`: format and statement it sends without being asked.
    """

    def __init__(self, rp_id: str, origin: str, *, algorithm: int = ES256) -> None:
        self.rp_id = rp_id
        self.origin = origin
        self.algorithm = algorithm
        self.passkeys: list[Passkey] = []
        self.challenge: bytes | None = None
        self.type: str | None = None
        self.cross_origin: bool | None = False
        self.is_present = True
        self.verifies = True
        self.counts = True
        self.syncs = False
        self.next_count: int | None = None
        self.attestation: tuple[str, dict[str, Any]] = ("none", {})
        self.names_user = True

    def create(self, options: dict[str, Any]) -> dict[str, Any]:
        """Answer navigator.credentials.create: a RegistrationResponseJSON."""
        offered = [parameter["alg"] for parameter in options["pubKeyCredParams"]]
        assert self.algorithm in offered
        held = {to_base64url(passkey.id) for passkey in self.passkeys}
        if held & {excluded["id"] for excluded in options["excludeCredentials"]}:
            raise ValueError("InvalidStateError: there is a passkey on this authenticator already")
        passkey = Passkey(
            os.urandom(32),
            from_base64url(options["user"]["id"]),
            _new_key(self.algorithm),
            self.algorithm,
        )
        self.passkeys.append(passkey)
        cose = cbor2.dumps(cose_key(passkey.key, passkey.algorithm))
        attested = bytes(16) + len(passkey.id).to_bytes(2, "big") + passkey.id + cose
        data = self._data(passkey, flags=ATTESTED) + attested
        form, statement = self.attestation
        attestation = cbor2.dumps({"fmt": form, "attStmt": statement, "authData": data})
        return {
            "id": to_base64url(passkey.id),
            "rawId": to_base64url(passkey.id),
            "type": "public-key",
            "authenticatorAttachment": "platform",
            "clientExtensionResults": {},
            "response": {
                "clientDataJSON": to_base64url(self._client_data(options, "webauthn.create")),
                "attestationObject": to_base64url(attestation),
                "transports": ["internal", "hybrid"],
            },
        }

    def get(self, options: dict[str, Any]) -> dict[str, Any]:
        """Answer navigator.credentials.get: an AuthenticationResponseJSON by the newest passkey."""
        assert options["rpId"]
        passkey = self.passkeys[-1]
        client_data = self._client_data(options, "webauthn.get")
        data = self._data(passkey)
        signed = data + hashlib.sha256(client_data).digest()
        response = {
            "clientDataJSON": to_base64url(client_data),
            "authenticatorData": to_base64url(data),
            "signature": to_base64url(_sign(passkey, signed)),
        }
        if self.names_user:
            response["userHandle"] = to_base64url(passkey.user)
        return {
            "id": to_base64url(passkey.id),
            "rawId": to_base64url(passkey.id),
            "type": "public-key",
            "authenticatorAttachment": "platform",
            "clientExtensionResults": {},
            "response": response,
        }

    def _client_data(self, options: dict[str, Any], kind: str) -> bytes:
        challenge = options["challenge"]
        if self.challenge is not None:
            challenge = to_base64url(self.challenge)
        content = {"type": self.type or kind, "challenge": challenge, "origin": self.origin}
        if self.cross_origin is not None:
            content["crossOrigin"] = self.cross_origin
        return json.dumps(content).encode()

    def _data(self, passkey: Passkey, *, flags: int = 0) -> bytes:
        if self.next_count is not None:
            passkey.count, self.next_count = self.next_count, None
        elif self.counts:
            passkey.count += 1
        flags |= USER_PRESENT * self.is_present | USER_VERIFIED * self.verifies
        flags |= (BACKUP_ELIGIBLE | BACKED_UP) * self.syncs
        rp_hash = hashlib.sha256(self.rp_id.encode()).digest()
        return rp_hash + bytes([flags]) + passkey.count.to_bytes(4, "big")


def cose_key(key: Any, algorithm: int) -> dict[int, Any]:
    """Return a public key as COSE writes it (RFC 9053)."""
    public = key.public_key()
    if isinstance(public, ed25519.Ed25519PublicKey):
        return {1: 1, 3: algorithm, -1: 6, -2: public.public_bytes_raw()}
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        modulus = numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")
        return {1: 3, 3: algorithm, -1: modulus, -2: numbers.e.to_bytes(3, "big")}
    point = public.public_numbers()
    curve = {"secp256r1": 1, "secp384r1": 2}[point.curve.name]
    size = point.curve.key_size // 8
    return {
        1: 2,
        3: algorithm,
        -1: curve,
        -2: point.x.to_bytes(size, "big"),
        -3: point.y.to_bytes(size, "big"),
    }


def _new_key(algorithm: int) -> Any:
    if algorithm == EDDSA:
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm == RS256:
        return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    return ec.generate_private_key(ec.SECP256R1())


def _sign(passkey: Passkey, content: bytes) -> bytes:
    if passkey.algorithm == EDDSA:
        return passkey.key.sign(content)
    if passkey.algorithm == RS256:
        return passkey.key.sign(content, padding.PKCS1v15(), hashes.SHA256())
    return passkey.key.sign(content, ec.ECDSA(hashes.SHA256()))
