"""/v1/spaces: the caller's spaces, new ones, and who is a member of which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from litestar import Response, delete, get, post, put
from litestar.params import FromPath

from core.ids import PersonId, SpaceId, is_id
from edge.controllers.answer import json_answer
from edge.controllers.body import read_json
from edge.controllers.endpoints import AnyRequest, Endpoints
from edge.controllers.principal import principal_of
from edge.dto.row_query import known_only, query_pairs
from edge.dto.spaces import (
    FoundedSpace,
    Member,
    MemberList,
    Membership,
    NewMember,
    NewSpace,
    SpaceList,
)
from edge.errors import InvalidQuery, NotFound
from edge.problems import Problem, ProblemError
from edge.services.spaces import LastManager

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from edge.services.node import Node

PATH: Final = "/v1/spaces"
BODY_BYTES_MAX: Final = 4_096
"""The largest honest body holds two names and an email."""


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
            post(PATH, name="spaces.create")(self.create),
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

    async def create(self, request: AnyRequest) -> Response[bytes]:
        """Make a space; the caller gets the role that the app declares for founders."""
        principal = principal_of(request)
        new = await read_json(request, NewSpace, bytes_max=BODY_BYTES_MAX)
        tenant = await self._node.tenant(principal.tenant)
        made = await tenant.spaces.found(principal, kind=new.kind, space=new.space)
        answer = FoundedSpace(made.space, made.kind, made.role)
        return await json_answer(request, answer, status=201)

    async def members(self, request: AnyRequest, space: FromPath[str]) -> Response[bytes]:
        """List the members of a space (its members, and administrators)."""
        principal = principal_of(request)
        tenant = await self._node.tenant(principal.tenant)
        found = await tenant.spaces.members(principal, space_id(space))
        members = [Member(m.person, m.role) for m in found if m.role is not None]
        return await json_answer(request, MemberList(members))

    async def assign(
        self, request: AnyRequest, space: FromPath[str], person: FromPath[str]
    ) -> Response[bytes]:
        """Give a person a role; an administrator's first assignment makes a new space."""
        principal = principal_of(request)
        new = await read_json(request, NewMember, bytes_max=BODY_BYTES_MAX)
        self._check(new)
        tenant = await self._node.tenant(principal.tenant)
        try:
            await tenant.spaces.assign(
                principal,
                space=space_id(space),
                person=_person_id(person),
                role=new.role,
                kind=new.kind,
            )
        except LastManager as error:
            raise _with_code(error) from None
        return await json_answer(request, Member(person, new.role))

    async def remove(
        self, request: AnyRequest, space: FromPath[str], person: FromPath[str]
    ) -> Response[None]:
        """Take a person out of a space, or leave it oneself."""
        principal = principal_of(request)
        tenant = await self._node.tenant(principal.tenant)
        try:
            await tenant.spaces.remove(principal, space=space_id(space), person=_person_id(person))
        except LastManager as error:
            raise _with_code(error) from None
        return Response(None, status_code=204)

    def _check(self, new: NewMember) -> None:
        """Refuse what no space of this app knows; the service knows which space it is."""
        kinds = self._node.app.spaces
        if new.kind is not None and new.kind not in kinds:
            raise InvalidQuery(f"'kind' is one of {', '.join(sorted(kinds))}.")
        roles = {role for kind in ([new.kind] if new.kind else kinds) for role in kinds[kind]}
        if new.role not in roles:
            raise InvalidQuery(f"'role' is one of {', '.join(sorted(roles))}.")


def space_id(text: str) -> SpaceId:
    """Return a space's id from a path; raise NotFound when it cannot be one."""
    if not is_id(text):
        raise NotFound("There is no such space for you.")
    return SpaceId(text)


def _person_id(text: str) -> PersonId:
    if not is_id(text):
        raise NotFound("There is no such person.")
    return PersonId(text)


def _with_code(error: LastManager) -> ProblemError:
    return ProblemError(Problem(error.fault, error.message, extra={"code": error.code}))
