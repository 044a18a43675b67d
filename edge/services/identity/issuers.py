"""Signing in with another issuer's ID token (OpenID Connect Core 1.0): Apple, Google, any.

An account is found by (issuer, subject) alone. The e-mail address in a token links nothing: whoever
registered it first would otherwise own the other's account.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.identity.accounts import CredentialKind
from edge.errors import InvalidQuery
from edge.services.identity.entry import NewCredential
from edge.services.limits import LimitKind

if TYPE_CHECKING:
    from edge.ports.issuers import IdTokens, IssuedIdentity
    from edge.services.identity.entry import Entry
    from edge.services.identity.flows import Flows
    from edge.services.identity.models import Begun, NewDevice, SignedIn
    from edge.services.limits import Limits
    from edge.services.session import Principal


class Issuers:
    """Ways in through ID tokens; `tokens` None: the node trusts no issuer."""

    def __init__(
        self, *, entry: Entry, flows: Flows, tokens: IdTokens | None, limits: Limits
    ) -> None:
        self._entry = entry
        self._flows = flows
        self._tokens = tokens
        self._limits = limits

    async def begin(self, tenant: str, *, address: str) -> tuple[Begun, str]:
        """Return a flow and the nonce that the issuer has to put into the ID token."""
        self._entry.settings(tenant)
        self._limits.require(LimitKind.LOGIN, tenant=tenant, address=address)
        self._required()
        begun, nonce = await self._flows.begin_challenge("oidc", tenant=tenant)
        return begun, nonce.hex()

    async def sign_in(
        self, tenant: str, flow: str, token: str, device: NewDevice, *, address: str
    ) -> SignedIn:
        """Sign in, or register, with an ID token; raises InvalidGrant, Unavailable."""
        self._entry.settings(tenant)
        self._limits.require(LimitKind.LOGIN, tenant=tenant, address=address)
        self._entry.sessions.check_device(tenant, device)
        identity = await self._identity(tenant, flow, token)
        return await self._entry.sign_in_or_up(
            tenant, device, [_credential(identity)], name=identity.name or "", address=address
        )

    async def attach(self, principal: Principal, flow: str, token: str, *, address: str) -> None:
        """Give a signed-in person this issuer as a way in; raises InvalidGrant, Conflict."""
        self._limits.require(
            LimitKind.LOGIN, tenant=principal.tenant, account=principal.person, address=address
        )
        identity = await self._identity(principal.tenant, flow, token)
        await self._entry.attach(principal, [_credential(identity)], address=address)

    async def _identity(self, tenant: str, flow: str, token: str) -> IssuedIdentity:
        tokens = self._required()
        # The flow is used up before the token is looked at: a replayed token finds no flow.
        found = await self._flows.take_challenge("oidc", tenant=tenant, flow=flow)
        return await tokens.verify(token, nonce=found.challenge.hex())

    def _required(self) -> IdTokens:
        if self._tokens is None:
            raise InvalidQuery("This node trusts no issuer of ID tokens.")
        return self._tokens


def _credential(identity: IssuedIdentity) -> NewCredential:
    subject = f"{identity.issuer} {identity.subject}"
    return NewCredential(CredentialKind.OIDC, subject, label=identity.issuer)
