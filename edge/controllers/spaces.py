"""/v1/spaces: the caller's spaces, and for administrators who is a member of which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from litestar import Response, delete, get, put
from litestar.params import FromPath

from core.ids import PersonId, SpaceId, is_id
from edge.controllers.answer import json_answer
from edge.controllers.body import read_json
from edge.controllers.endpoints import AnyRequest, Endpoints
from edge.controllers.principal import administrator_of, principal_of
from edge.dto.row_query import known_only, query_pairs
from edge.dto.spaces import Member, MemberList, Membership, NewMember, SpaceList
from edge.errors import InvalidQuery, NotFound

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from edge.services.node import Node

PATH: Final = "/v1/spaces"
BODY_BYTES_MAX: Final = 4_096


class SpacesController(Endpoints):
    """Reads and changes memberships."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def routes(self) -> list[HTTPRouteHandler]:
        """Return the routes."""
        members = PATH + "/{space:str}/members"
        member = members + "/{person:str}"
        return [
            get(PATH, name="spaces.mine")(self.mine),
            get(members, name="members.list")(self.members),
            put(member, name="members.set")(self.assign),
            delete(member, status_code=204, name="members.remove")(self.remove),
        ]

    async def mine(self, request: AnyRequest) -> Response[bytes]:
        """List the spaces the caller is a member of."""
        known_only(query_pairs(request.scope["query_string"]))
        principal = principal_of(request)
        tenant = await self._node.tenant(principal.tenant)
        found = await tenant.members.spaces(principal)
        mine = [Membership(m.space, m.kind, m.role) for m in found if m.role is not None]
        return await json_answer(request, SpaceList(mine))

    async def members(self, request: AnyRequest, space: FromPath[str]) -> Response[bytes]:
        """List the members of a space (administrators)."""
        principal = administrator_of(request)
        tenant = await self._node.tenant(principal.tenant)
        found = await tenant.members.list(_space(space))
        members = [Member(m.person, m.role) for m in found if m.role is not None]
        return await json_answer(request, MemberList(members))

    async def assign(
        self, request: AnyRequest, space: FromPath[str], person: FromPath[str]
    ) -> Response[bytes]:
        """Give a person a role in a space (administrators); the space is made when it is new."""
        principal = administrator_of(request)
        new = await read_json(request, NewMember, bytes_max=BODY_BYTES_MAX)
        kind = self._kind_of(new)
        tenant = await self._node.tenant(principal.tenant)
        await tenant.members.set(_space(space), kind, _person(person), new.role)
        return await json_answer(request, Member(person, new.role))

    async def remove(
        self, request: AnyRequest, space: FromPath[str], person: FromPath[str]
    ) -> Response[None]:
        """Take a person out of a space (administrators)."""
        principal = administrator_of(request)
        tenant = await self._node.tenant(principal.tenant)
        await tenant.members.remove(_space(space), _person(person))
        return Response(None, status_code=204)

    def _kind_of(self, new: NewMember) -> str:
        kinds: dict[str, Any] = dict(self._node.app.spaces)
        if new.kind is None and len(kinds) == 1:
            return next(iter(kinds))
        if new.kind not in kinds:
            raise InvalidQuery(f"'kind' is one of {', '.join(sorted(kinds))}.")
        if new.role not in kinds[new.kind]:
            raise InvalidQuery(f"'role' is one of {', '.join(kinds[new.kind])}.")
        return new.kind


def _space(text: str) -> SpaceId:
    if not is_id(text):
        raise NotFound("There is no such space.")
    return SpaceId(text)


def _person(text: str) -> PersonId:
    if not is_id(text):
        raise NotFound("There is no such person.")
    return PersonId(text)
