"""ID tokens of trusted issuers (OpenID Connect Core 1.0, 3.1.3.7), on PyJWT.

Invariants
  N1  nothing of a token is parsed before its size is known to be at most TOKEN_BYTES_MAX
  N2  the algorithm is the one that the issuer's key is for (RS256, ES256 or EdDSA), never the one
      that the token asks for; a header that brings a key or a place to fetch one from is refused
  N3  iss, aud, exp, iat, sub and nonce are all required; iss is exact, and exactly one audience is
      ours; where there are several, it is also the authorized party (azp)
  N4  the nonce is the given one, or its SHA-256 (Apple's native flow hashes it)
  N5  a refusal reads the same whatever is wrong
"""

from __future__ import annotations

import hmac
import time
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NoReturn

import jwt
import msgspec

from edge.errors import InvalidGrant
from edge.gateways.issuer_keys import IssuerKeys
from edge.gateways.issuer_settings import PRESETS, parse_issuers, require_issuers
from edge.ports.issuers import IssuedIdentity

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge.gateways.issuer_key_set import IssuerKey
    from edge.ports.issuers import Issuer

__all__ = ["PRESETS", "JwtIdTokens", "parse_issuers"]

TOKEN_BYTES_MAX: Final = 16_384
"""Google's and Apple's have about 1 KiB; those of companies carry groups."""
LEEWAY_S: Final = 60
"""How far an issuer's clock and ours may be apart."""
AGE_S_MAX: Final = 3_600
"""A token is used within minutes of its issue; an older one was kept for some other purpose."""
AUDIENCES_MAX: Final = 10
"""Tokens have one audience, seldom two."""
SUBJECT_CHARACTERS_MAX: Final = 255
"""OpenID Connect Core, section 2."""
EMAIL_CHARACTERS_MAX: Final = 254
"""RFC 5321, 4.5.3.1.3."""
NAME_CHARACTERS_MAX: Final = 200
"""A name that is longer is not shown to anybody."""
_ALGORITHMS: Final = frozenset({"RS256", "ES256", "EdDSA"})
_REFUSED = "The identity token is not one that this node takes."


class _Header(msgspec.Struct):
    alg: str
    kid: str | None = None
    typ: str = "JWT"


_FORBIDDEN_HEADERS: Final = frozenset({"jku", "jwk", "x5u", "x5c", "crit", "b64", "zip", "enc"})


class _Claims(msgspec.Struct):
    iss: str
    sub: str
    aud: str | list[str]
    exp: float
    iat: float
    nonce: str
    nbf: float | None = None
    azp: str | None = None
    email: str | None = None
    # Apple sends "true"; the specification says true.
    email_verified: bool | str | None = None
    name: str | None = None


class JwtIdTokens:
    """Verifies ID tokens; see `edge.ports.issuers.IdTokens`.

    `clock` is Unix seconds. Raises ValueError for issuers that cannot be trusted as they stand.
    """

    def __init__(
        self,
        issuers: Sequence[Issuer],
        *,
        keys: IssuerKeys | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._issuers = {issuer.issuer: issuer for issuer in require_issuers(issuers)}
        self._keys = IssuerKeys() if keys is None else keys
        self._clock = clock

    async def verify(self, token: str, *, nonce: str) -> IssuedIdentity:
        """Return whom the token speaks of; raise InvalidGrant or Unavailable."""
        assert nonce, "without a nonce every token ever issued would do"
        header, issuer = self._unverified(token)
        key = await self._keys.find(issuer, header.kid)
        if key is None or key.algorithm != header.alg:
            _refuse()
        claims = _verified(token, key)
        self._require_now(claims)
        if (
            claims.iss != issuer.issuer
            or not _is_for(claims, issuer)
            or not _is_nonce(claims.nonce, nonce)
            or not 0 < len(claims.sub) <= SUBJECT_CHARACTERS_MAX
            or not (claims.sub.isascii() and claims.sub.isprintable())
        ):
            _refuse()
        email = _shown(claims.email, length_max=EMAIL_CHARACTERS_MAX)
        return IssuedIdentity(
            issuer=issuer.issuer,
            subject=claims.sub,
            email=email,
            is_email_verified=email is not None and claims.email_verified in (True, "true"),
            name=_shown(claims.name, length_max=NAME_CHARACTERS_MAX),
        )

    async def close(self) -> None:
        """Close the connections to the issuers."""
        await self._keys.close()

    def _unverified(self, token: str) -> tuple[_Header, Issuer]:
        """Return the header, and the issuer whose keys decide whether to believe it."""
        if len(token) > TOKEN_BYTES_MAX or not token.isascii():
            _refuse()
        try:
            content = jwt.decode_complete(token, options={"verify_signature": False})
            fields: dict[str, Any] = content["header"]
            header = msgspec.convert(fields, _Header)
            issuer = self._issuers.get(content["payload"].get("iss"))
        except (jwt.PyJWTError, msgspec.ValidationError, ValueError, TypeError, RecursionError):
            _refuse()
        if (
            issuer is None
            or header.alg not in _ALGORITHMS
            or header.typ.upper() != "JWT"
            or not _FORBIDDEN_HEADERS.isdisjoint(fields)
        ):
            _refuse()
        return header, issuer

    def _require_now(self, claims: _Claims) -> None:
        # Each comparison is false for a number that is none (NaN), which JSON parsers let through.
        now = self._clock()
        is_now = (
            now - LEEWAY_S < claims.exp
            and now - AGE_S_MAX <= claims.iat <= now + LEEWAY_S
            and (claims.nbf is None or claims.nbf <= now + LEEWAY_S)
        )
        if not is_now:
            _refuse()


def _verified(token: str, key: IssuerKey) -> _Claims:
    try:
        payload = jwt.decode(
            token,
            key.public,
            algorithms=[key.algorithm],
            options={
                "require": ["iss", "sub", "aud", "exp", "iat", "nonce"],
                # Checked here, by the injected clock and against one issuer's audiences.
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
                "verify_aud": False,
                "verify_iss": False,
            },
        )
        return msgspec.convert(payload, _Claims)
    except (
        jwt.PyJWTError,
        msgspec.ValidationError,
        ValueError,
        TypeError,
        OverflowError,
        RecursionError,
    ):
        _refuse()


def _is_for(claims: _Claims, issuer: Issuer) -> bool:
    audiences = [claims.aud] if isinstance(claims.aud, str) else claims.aud
    if len(audiences) > AUDIENCES_MAX:
        return False
    ours = [audience for audience in audiences if audience in issuer.audiences]
    # With one audience, azp may differ: Google's Android flow names the app there.
    return len(ours) == 1 and (len(audiences) == 1 or claims.azp == ours[0])


def _is_nonce(found: str, nonce: str) -> bool:
    digest = sha256(nonce.encode())
    taken = (
        nonce.encode(),
        digest.hexdigest().encode(),
        urlsafe_b64encode(digest.digest()).rstrip(b"="),
    )
    given = found.encode("utf-8", "surrogatepass")
    # All three are compared, so that the time does not tell which one came near.
    matches = [hmac.compare_digest(given, one) for one in taken]
    return any(matches)


def _shown(text: str | None, *, length_max: int) -> str | None:
    """Return a text that may be shown, or nothing: nobody is refused for an odd name."""
    return text if text and len(text) <= length_max and text.isprintable() else None


def _refuse() -> NoReturn:
    raise InvalidGrant(_REFUSED) from None
