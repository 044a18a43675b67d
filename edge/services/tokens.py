"""Access tokens: EdDSA JWTs (RFC 7519, RFC 8037, RFC 9068), verified and made.

Invariants
  T1  nothing of a token is parsed before its size is known to be at most TOKEN_BYTES_MAX
  T2  the algorithm is EdDSA and the key comes from our own ring by `kid`; a header that brings a
      key or a place to fetch one from, or any other header, is refused
  T3  alg, kid, typ, aud, exp, iat, sub and tenant are all required
  T4  the cache never outlives `exp` or the key, and holds at most CACHED_TOKENS_MAX tokens
  T5  what was revoked is asked about every request, whether the token is cached or not
  T6  a token names the node that signed it, and its key is that node's
"""

from __future__ import annotations

import time
from collections import OrderedDict
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import jwt
import msgspec

from core.ids import PersonId, TenantId, is_id
from edge.errors import Unauthenticated
from edge.services.keys import KID
from edge.services.session import ADMIN_SCOPE, OPERATOR_SCOPE, Principal

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.ports.keys import SigningKey, TrustedKey
    from edge.services.keys import TokenTrust

ALGORITHM: Final = "EdDSA"
AUDIENCE: Final = "skerry"
TOKEN_TYPE: Final = "at+jwt"  # noqa: S105  (the media type of access tokens, RFC 9068)
TOKEN_BYTES_MAX: Final = 4_096
"""An honest token has some 300 bytes; nothing larger is worth a look."""
CACHED_TOKENS_MAX: Final = 10_000
"""About 4 MB; an Ed25519 verification costs some 100 microseconds, a cached one two."""
CLOCK_DIFFERENCE_S_MAX: Final = 60
"""How far ahead the issuer's clock may be in `iat`."""
_REFUSED = "The token is not one that this node takes."


class _Header(msgspec.Struct, forbid_unknown_fields=True):
    alg: str
    kid: str
    typ: str


class _Claims(msgspec.Struct):
    aud: str
    exp: int
    iat: int
    sub: str
    tenant: str
    scope: str = ""
    iss: str = ""
    sid: str = ""
    did: str = ""
    auth_time: int = 0
    amr: list[str] = []


class Tokens:
    """Verifies access tokens; refusals read the same, so that nothing can be learnt from them."""

    def __init__(
        self, keys: TokenTrust, *, lifetime_s_max: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._keys = keys
        self._lifetime_s_max = lifetime_s_max
        self._clock = clock
        self._verified: OrderedDict[bytes, tuple[Principal, str, TrustedKey]] = OrderedDict()

    def verify(self, token: str) -> Principal:
        """Return whom the token speaks for; raise Unauthenticated or Forbidden."""
        if len(token) > TOKEN_BYTES_MAX or not token.isascii():
            raise Unauthenticated(_REFUSED)
        digest = sha256(token.encode()).digest()
        known = self._verified.get(digest)
        if known is not None:
            principal, kid, key = known
            if principal.expires_unix_s > self._clock() and self._keys.find(kid) is key:
                self._keys.require_good(principal, key)
                self._verified.move_to_end(digest)
                return principal
            del self._verified[digest]
        kid, key = self._key_of(token)
        principal = self._principal(token, key)
        self._keys.require_good(principal, key)
        self._verified[digest] = (principal, kid, key)
        if len(self._verified) > CACHED_TOKENS_MAX:
            self._verified.popitem(last=False)
        return principal

    def _key_of(self, token: str) -> tuple[str, TrustedKey]:
        try:
            header = msgspec.convert(jwt.get_unverified_header(token), _Header)
        except (jwt.PyJWTError, msgspec.ValidationError, ValueError, RecursionError):
            raise Unauthenticated(_REFUSED) from None
        if header.alg != ALGORITHM or header.typ != TOKEN_TYPE or KID.fullmatch(header.kid) is None:
            raise Unauthenticated(_REFUSED)
        key = self._keys.find(header.kid)
        if key is None:
            raise Unauthenticated(_REFUSED)
        return header.kid, key

    def _principal(self, token: str, key: TrustedKey) -> Principal:
        try:
            payload = jwt.decode(
                token,
                key.public,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                options={
                    "require": ["aud", "exp", "iat", "sub", "tenant"],
                    "verify_iat": False,  # checked below, with room for the issuer's clock
                    "verify_exp": False,  # checked below, by the injected clock
                    "strict_aud": True,
                },
            )
            claims = msgspec.convert(payload, _Claims)
        except (jwt.PyJWTError, msgspec.ValidationError, ValueError, TypeError, OverflowError):
            raise Unauthenticated(_REFUSED) from None
        now = self._clock()
        if claims.exp <= now:
            raise Unauthenticated("The token has expired.")
        if (
            claims.exp - claims.iat > self._lifetime_s_max
            or claims.iat > now + CLOCK_DIFFERENCE_S_MAX
            or not is_id(claims.sub)
            or not is_id(claims.tenant)
            or (key.node and claims.iss != key.node)
        ):
            raise Unauthenticated(_REFUSED)
        return Principal(
            tenant=TenantId(claims.tenant),
            person=PersonId(claims.sub),
            scopes=frozenset(claims.scope.split()),
            expires_unix_s=claims.exp,
            issued_unix_s=claims.iat,
            session=claims.sid,
            device=claims.did,
            proved_unix_s=claims.auth_time,
            methods=frozenset(claims.amr),
        )


def signed(key: SigningKey, claims: dict[str, object]) -> str:
    """Return claims as a token that names its key."""
    headers = {"kid": key.kid, "typ": TOKEN_TYPE}
    return jwt.encode(claims, key.private, algorithm=ALGORITHM, headers=headers)


def mint(
    key: SigningKey,
    *,
    tenant: TenantId,
    person: PersonId,
    is_admin: bool = False,
    is_operator: bool = False,
    lifetime_s: int,
    now_unix_s: int,
) -> str:
    """Make an operator's token, without a session: `skerry token`, commands and tests use it."""
    scopes = [ADMIN_SCOPE] * is_admin + [OPERATOR_SCOPE] * is_operator
    claims: dict[str, object] = {
        "aud": AUDIENCE,
        "exp": now_unix_s + lifetime_s,
        "iat": now_unix_s,
        "sub": person,
        "tenant": tenant,
    }
    if scopes:
        claims["scope"] = " ".join(scopes)
    return signed(key, claims)
