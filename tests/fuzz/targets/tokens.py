"""Access tokens: any text, and any claims under a signature that is good."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.ids import PersonId, TenantId, is_id
from edge.errors import Forbidden, Unauthenticated
from edge.ports.keys import SigningKey, TrustedKey
from edge.services.session import Principal
from edge.services.tokens import TOKEN_BYTES_MAX, Tokens, mint
from tests.fuzz.target import Target

NOW: Final = 1_800_000_000
LIFETIME_S_MAX: Final = 86_400
KEY: Final = SigningKey("fuzz-1", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
HEADER: Final = b'{"alg":"EdDSA","kid":"fuzz-1","typ":"at+jwt"}'
SIGNED: Final = b"\x01"


class Trust:
    """One key, of no node."""

    def __init__(self) -> None:
        self._key = TrustedKey(KEY.private.public_key())

    def find(self, kid: str) -> TrustedKey | None:
        """Return the one key."""
        return self._key if kid == KEY.kid else None

    def require_good(self, principal: Principal, key: TrustedKey) -> None:
        """Nothing was taken back."""


def run(content: bytes) -> None:
    """A token as it is, or behind a byte 1 a header and claims, parted by a line end, to be signed.

    Invariant: a token is refused, or speaks for a well-formed person of a well-formed tenant and
    ends after now and within the longest lifetime; a second look says the same.
    Errors: Unauthenticated, Forbidden.
    """
    tokens = Tokens(Trust(), lifetime_s_max=LIFETIME_S_MAX, clock=lambda: float(NOW))
    token = _signed(content[1:]) if content[:1] == SIGNED else content.decode("latin-1")
    try:
        principal = tokens.verify(token)
    except (Unauthenticated, Forbidden):
        return
    assert len(token) <= TOKEN_BYTES_MAX
    assert is_id(principal.tenant)
    assert is_id(principal.person)
    assert NOW < principal.expires_unix_s <= NOW + LIFETIME_S_MAX + 60
    assert all(type(each) is str for each in (*principal.scopes, *principal.methods))
    assert tokens.verify(token) == principal


def _signed(content: bytes) -> str:
    header, _, claims = content.partition(b"\n")
    message = b".".join(_base64(part) for part in (header or HEADER, claims))
    return (message + b"." + _base64(KEY.private.sign(message))).decode()


def _base64(content: bytes) -> bytes:
    return urlsafe_b64encode(content).rstrip(b"=")


def seeds() -> Iterator[bytes]:
    """Honest tokens, and known forgeries."""
    honest = mint(
        KEY,
        tenant=TenantId("main"),
        person=PersonId("ada"),
        is_admin=True,
        lifetime_s=600,
        now_unix_s=NOW,
    )
    yield honest.encode()
    claims: dict[str, Any] = {
        "aud": "skerry", "exp": NOW + 600, "iat": NOW, "sub": "ada", "tenant": "main",
        "scope": "admin operator", "sid": "s", "did": "d", "auth_time": NOW, "amr": ["pwd"],
    }  # fmt: skip
    yield SIGNED + b"\n" + json.dumps(claims).encode()
    for name in claims:
        for odd in (None, -1, 2**64, 1.5, "", "x y", ["skerry"], {"a": 1}, True):
            yield SIGNED + b"\n" + json.dumps({**claims, name: odd}).encode()
    yield SIGNED + b'{"alg":"none","kid":"fuzz-1","typ":"at+jwt"}\n' + json.dumps(claims).encode()
    yield SIGNED + HEADER[:-1] + b',"jwk":{}}\n' + json.dumps(claims).encode()
    yield b"a.b.c"


TARGETS = (Target("tokens", run, seeds, bytes_max=4_200),)
