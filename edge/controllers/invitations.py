"""Invitations: /v1/spaces/{space}/invitations for managers, /v1/invitations/accept for all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from litestar import Response, delete, get, post
from litestar.params import FromPath

from core.ids import is_id
from edge.controllers.answer import json_answer
from edge.controllers.body import read_json
from edge.controllers.endpoints import AnyRequest, Endpoints
from edge.controllers.principal import principal_of
from edge.controllers.spaces import BODY_BYTES_MAX, space_id
from edge.dto.row_query import known_only, query_pairs
from edge.dto.spaces import (
    Acceptance,
    Invitation,
    InvitationList,
    IssuedInvitation,
    Membership,
    NewInvitation,
)
from edge.errors import NotFound
from edge.services.invitations import Wanted

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from edge.ports.records import InvitationRecord
    from edge.services.node import Node

PATH: Final = "/v1/spaces/{space:str}/invitations"
ACCEPT_PATH: Final = "/v1/invitations/accept"


class InvitationsController(Endpoints):
    """Makes, lists, revokes and accepts invitations."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def routes(self) -> list[HTTPRouteHandler]:
        """Return the routes."""
        one = PATH + "/{invitation:str}"
        return [
            post(PATH, name="invitations.create")(self.create),
            get(PATH, name="invitations.list")(self.browse),
            delete(one, status_code=204, name="invitations.revoke")(self.revoke),
            post(ACCEPT_PATH, status_code=200, name="invitations.accept")(self.accept),
        ]

    async def create(self, request: AnyRequest, space: FromPath[str]) -> Response[bytes]:
        """Invite to a space; the answer is the only place where the code is shown."""
        principal = principal_of(request)
        new = await read_json(request, NewInvitation, bytes_max=BODY_BYTES_MAX)
        tenant = await self._node.tenant(principal.tenant)
        wanted = Wanted(role=new.role, email=new.email, uses=new.uses, ttl_s=new.ttl_s)
        issued = await tenant.invitations.create(principal, space_id(space), wanted)
        answer = IssuedInvitation(issued.id, issued.code, issued.expires_ms)
        return await json_answer(request, answer, status=201)

    async def browse(self, request: AnyRequest, space: FromPath[str]) -> Response[bytes]:
        """List the open invitations to a space."""
        known_only(query_pairs(request.scope["query_string"]))
        principal = principal_of(request)
        tenant = await self._node.tenant(principal.tenant)
        found = await tenant.invitations.list(principal, space_id(space))
        return await json_answer(request, InvitationList([_answer(one) for one in found]))

    async def revoke(
        self, request: AnyRequest, space: FromPath[str], invitation: FromPath[str]
    ) -> Response[None]:
        """Make an invitation worthless."""
        principal = principal_of(request)
        if not is_id(invitation):
            raise NotFound("There is no such invitation.")
        tenant = await self._node.tenant(principal.tenant)
        await tenant.invitations.revoke(principal, space=space_id(space), invitation=invitation)
        return Response(None, status_code=204)

    async def accept(self, request: AnyRequest) -> Response[bytes]:
        """Come into a space; a member already keeps the role it has."""
        principal = principal_of(request)
        new = await read_json(request, Acceptance, bytes_max=BODY_BYTES_MAX)
        tenant = await self._node.tenant(principal.tenant)
        member = await tenant.invitations.accept(principal, new.code)
        answer = Membership(member.space, member.kind, member.role or "")
        return await json_answer(request, answer)


def _answer(invitation: InvitationRecord) -> Invitation:
    return Invitation(
        id=invitation.id,
        role=invitation.role,
        inviter=invitation.inviter,
        email=invitation.email,
        uses=invitation.uses,
        used=invitation.used,
        created_ms=invitation.created_ms,
        expires_ms=invitation.expires_ms,
    )
