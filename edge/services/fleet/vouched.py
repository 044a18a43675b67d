"""What an edge vouches for: a person whose token it has verified, a push it has accepted.

Invariants
  V1  a node vouches for no more than its key may sign: its region's tenants, no operator
  V2  an expired token is good for a relayed push alone, and only if it had not expired when the
      push was accepted; what was revoked before that is refused
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.errors import InvalidQuery, Unauthenticated
from edge.services.fleet.node_tokens import TOLERANCE_S

if TYPE_CHECKING:
    from edge.services.fleet.node_tokens import NodeCaller
    from edge.services.identity.trust import Trust
    from edge.services.session import Principal

_MS: Final = 1_000


def vouched_for(
    caller: NodeCaller, trust: Trust, *, now_ms: int, may_relay: bool = False
) -> Principal:
    """Return the person that a node speaks for.

    Raises Unauthenticated, Forbidden, UnknownTenant, InvalidQuery (the call names nobody).
    """
    principal = caller.principal
    if principal is None:
        raise InvalidQuery("The call names no person.")
    accepted_ms = caller.claims.accepted_ms if may_relay else 0
    # An edge's clock may have been ahead when it accepted: then it was now.
    at_unix_s = min(accepted_ms, now_ms) // _MS if accepted_ms else now_ms // _MS
    if principal.expires_unix_s + TOLERANCE_S <= at_unix_s:
        raise Unauthenticated("The token has expired.")
    trust.require_good(principal, caller.key, at_unix_s=at_unix_s if accepted_ms else None)
    return principal
