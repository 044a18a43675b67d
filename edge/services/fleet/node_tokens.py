"""Tokens that nodes call each other with: EdDSA JWTs (RFC 7519), one for each request.

A token says who calls whom, and which method, target and body it stands for: it opens nothing else,
and nothing twice.

Invariants
  O1  only a key of the control database that belongs to a joined node verifies; an operator's key
      file, a revoked key and a removed node's key never do
  O2  a token is worth one request: audience, method, target and body are in it, and its id is
      remembered until it has ended by any clock within the tolerance
  O3  whoever holds no good key learns nothing: every refusal before the signature, the node and the
      audience are known to be good reads the same
  O4  clocks that are apart are told so, with this node's time: the caller corrects itself, and a
      clock that jumps cuts no node off
  O5  everything that is remembered is bounded, by node: one node cannot use up another's share
"""

from __future__ import annotations

import time
from base64 import urlsafe_b64encode
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Annotated, Final

import jwt
import msgspec

from core.fleet import NodeState
from core.ids import INTEGER_MAX
from edge.errors import ClockApart, Overloaded, Unauthenticated
from edge.services.fleet.models import PrincipalClaim, claim_of, principal_of_claim
from edge.services.keys import KID

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.ports.keys import TrustedKey
    from edge.services.identity.signing import Signing
    from edge.services.identity.trust import Trust
    from edge.services.session import Principal

NODE_HEADER: Final = b"x-skerry-node"
ALGORITHM: Final = "EdDSA"
TOKEN_TYPE: Final = "node+jwt"  # noqa: S105  (a media type: no access token has it)
TOKEN_BYTES_MAX: Final = 8_192
"""A principal's claims come from an access token of at most 4 KiB; base64 adds a third."""
LIFETIME_S: Final = 30
TOLERANCE_S: Final = 60
"""How far apart two nodes' clocks may be; NTP keeps them within a tenth of a second."""
REPLAY_S: Final = LIFETIME_S + 2 * TOLERANCE_S
"""A token is good from `iat` - TOLERANCE_S until `exp` + TOLERANCE_S: so long its id is kept."""
REPLAYS_PER_NODE_MAX: Final = 200_000
"""1,300 calls a second from one node, some 30 MB; beyond it the node is told to come back."""
TARGET_CHARACTERS_MAX: Final = 512
"""A longer target is in the token as its digest."""
ID_BYTES: Final = 12
_REFUSED: Final = "The node token is not one that this node takes."


class _Header(msgspec.Struct, forbid_unknown_fields=True):
    alg: str
    kid: str
    typ: str


_Seconds = Annotated[int, msgspec.Meta(ge=0, le=INTEGER_MAX)]


class NodeClaims(msgspec.Struct, forbid_unknown_fields=True):
    """What a node says with a call.

    `epoch`: the highest it has heard of. `forwards`: the request is a phone's, not the node's own.
    `accepted_ms` (Unix ms; 0: just now): when it has accepted a push that it relays.
    """

    iss: str
    aud: str
    iat: _Seconds
    exp: _Seconds
    jti: Annotated[str, msgspec.Meta(min_length=8, max_length=64)]
    htm: str
    htu: str
    bd: str
    epoch: _Seconds = 0
    forwards: bool = False
    principal: PrincipalClaim | None = None
    accepted_ms: _Seconds = 0


@dataclass(frozen=True, slots=True)
class NodeCaller:
    """A verified caller; `key` says what its node may vouch for."""

    node: str
    region: str
    claims: NodeClaims
    key: TrustedKey

    @property
    def principal(self) -> Principal | None:
        """The person that the node vouches for."""
        claim = self.claims.principal
        return None if claim is None else principal_of_claim(claim)


class NodeTokens:
    """Signs what this node calls with, and verifies what others call it with."""

    def __init__(
        self, trust: Trust, signing: Signing, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._trust = trust
        self._signing = signing
        self._clock = clock
        self._seen: dict[str, OrderedDict[str, int]] = {}

    @property
    def node(self) -> str:
        """This node's name."""
        return self._signing.node

    def now_unix_s(self) -> int:
        """Return this node's time."""
        return int(self._clock())

    async def sign(
        self,
        *,
        to: str,
        method: str,
        target: str,
        body: bytes,
        epoch: int = 0,
        forwards: bool = False,
        principal: Principal | None = None,
        accepted_ms: int = 0,
        ahead_s: int = 0,
    ) -> str:
        """Return a token for one request to the node named `to`, whose clock is `ahead_s` ahead.

        Raises Unavailable when this node has no active key.
        """
        key = await self._signing.usable()
        now_s = self.now_unix_s() + ahead_s
        claims: dict[str, object] = {
            "iss": self.node,
            "aud": to,
            "iat": now_s,
            "exp": now_s + LIFETIME_S,
            "jti": token_urlsafe(ID_BYTES),
            "htm": method,
            "htu": _target(target),
            "bd": _digest(body),
            "epoch": epoch,
        }
        if forwards:
            claims["forwards"] = True
        if principal is not None:
            claims["principal"] = msgspec.to_builtins(claim_of(principal))
        if accepted_ms:
            claims["accepted_ms"] = accepted_ms
        headers = {"kid": key.kid, "typ": TOKEN_TYPE}
        return jwt.encode(claims, key.private, algorithm=ALGORITHM, headers=headers)

    def verify(self, token: str, *, method: str, target: str, body: bytes) -> NodeCaller:
        """Return who calls; raises Unauthenticated, ClockApart or Overloaded."""
        caller = self.verify_head(token, method=method, target=target)
        self.verify_body(caller, body)
        return caller

    def verify_head(self, token: str, *, method: str, target: str) -> NodeCaller:
        """Verify all but the body, so that nobody's body is read who may not call.

        Raises Unauthenticated or ClockApart. The token is used up by `verify_body` alone.
        """
        caller = self._caller(token)
        claims = caller.claims
        if (
            claims.htm != method
            or not compare_digest(claims.htu.encode(), _target(target).encode())
            or not 0 < claims.exp - claims.iat <= LIFETIME_S
        ):
            raise Unauthenticated(_REFUSED)
        now_s = self.now_unix_s()
        if not claims.iat - TOLERANCE_S <= now_s < claims.exp + TOLERANCE_S:
            raise ClockApart("The nodes' clocks are too far apart.", now_unix_s=now_s)
        return caller

    def verify_body(self, caller: NodeCaller, body: bytes) -> None:
        """Check the body against the token, and use the token up; raises as `verify`."""
        if not compare_digest(caller.claims.bd.encode(), _digest(body).encode()):
            raise Unauthenticated(_REFUSED)
        self._use_up(caller)

    def _caller(self, token: str) -> NodeCaller:
        """Return whom a token is from: its signature, node and audience are good (O1)."""
        if len(token) > TOKEN_BYTES_MAX or not token.isascii():
            raise Unauthenticated(_REFUSED)
        try:
            header = msgspec.convert(jwt.get_unverified_header(token), _Header)
        except (jwt.PyJWTError, msgspec.ValidationError, ValueError, RecursionError):
            raise Unauthenticated(_REFUSED) from None
        if header.alg != ALGORITHM or header.typ != TOKEN_TYPE or KID.fullmatch(header.kid) is None:
            raise Unauthenticated(_REFUSED)
        key = self._trust.find(header.kid)
        if key is None or not key.node:
            raise Unauthenticated(_REFUSED)
        try:
            payload = jwt.decode(
                token,
                key.public,
                algorithms=[ALGORITHM],
                audience=self.node,
                options={
                    "require": ["iss", "aud", "iat", "exp", "jti"],
                    "verify_iat": False,  # times are checked later, by the injected clock
                    "verify_exp": False,
                    "strict_aud": True,
                },
            )
            claims = msgspec.convert(payload, NodeClaims)
        except (jwt.PyJWTError, msgspec.ValidationError, ValueError, TypeError, RecursionError):
            raise Unauthenticated(_REFUSED) from None
        entry = self._trust.node(key.node)
        if claims.iss != key.node or entry is None or entry.state is not NodeState.JOINED:
            raise Unauthenticated(_REFUSED)
        return NodeCaller(entry.node, entry.region, claims, key)

    def _use_up(self, caller: NodeCaller) -> None:
        """Remember a token's id until the token has ended (O2, O5)."""
        now_s = self.now_unix_s()
        seen = self._seen.setdefault(caller.node, OrderedDict())
        while seen:
            oldest, until_s = next(iter(seen.items()))
            # A clock that was set back by more than REPLAY_S must not keep ids for ever.
            if now_s < until_s <= now_s + REPLAY_S:
                break
            del seen[oldest]
        if caller.claims.jti in seen:
            raise Unauthenticated(_REFUSED)
        if len(seen) >= REPLAYS_PER_NODE_MAX:
            raise Overloaded("This node calls more often than its calls can be told apart.")
        seen[caller.claims.jti] = caller.claims.exp + TOLERANCE_S


def _target(target: str) -> str:
    if len(target) <= TARGET_CHARACTERS_MAX:
        return target
    return "sha256:" + _digest(target.encode())


def _digest(content: bytes) -> str:
    return urlsafe_b64encode(sha256(content).digest()).rstrip(b"=").decode()
