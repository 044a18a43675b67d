"""The OpenAPI paths of spaces, members and invitations."""

from __future__ import annotations

from typing import Any, Final

from edge.dto.operations import json_body, json_content, operation
from edge.dto.spaces import (
    Acceptance,
    FoundedSpace,
    InvitationList,
    IssuedInvitation,
    Member,
    MemberList,
    Membership,
    NewInvitation,
    NewMember,
    NewSpace,
    SpaceList,
)

Json = dict[str, Any]
SPACE_TYPES: Final[tuple[type, ...]] = (
    Acceptance,
    FoundedSpace,
    InvitationList,
    IssuedInvitation,
    Member,
    MemberList,
    Membership,
    NewInvitation,
    NewMember,
    NewSpace,
    SpaceList,
)
"""What the paths refer to."""
SPACES: Final = "/v1/spaces"
MEMBERS: Final = SPACES + "/{space}/members"
INVITATIONS: Final = SPACES + "/{space}/invitations"


def space_paths() -> Json:
    """Return all of them."""
    return {**_spaces(), **_invitations()}


def _spaces() -> Json:
    mine = operation("spaces.mine", "spaces", "List your spaces", json_content("SpaceList"))
    create = operation(
        "spaces.create", "spaces", "Make a space", json_content("FoundedSpace"), status=201
    )
    members = operation(
        "members.list", "spaces", "List a space's members", json_content("MemberList")
    )
    assign = operation(
        "members.set", "spaces", "Give a person a role (managers)", json_content("Member")
    )
    remove = operation(
        "members.remove", "spaces", "Take a person out (managers), or leave", {}, status=204
    )
    create["requestBody"] = json_body("NewSpace")
    assign["requestBody"] = json_body("NewMember")
    space = _path_parameter("space")
    return {
        SPACES: {"get": mine, "post": create},
        MEMBERS: {"parameters": [space], "get": members},
        MEMBERS + "/{person}": {
            "parameters": [space, _path_parameter("person")],
            "put": assign,
            "delete": remove,
        },
    }


def _invitations() -> Json:
    create = operation(
        "invitations.create",
        "spaces",
        "Invite to a space (managers); the code is told once",
        json_content("IssuedInvitation"),
        status=201,
    )
    listed = operation(
        "invitations.list",
        "spaces",
        "List a space's open invitations (managers)",
        json_content("InvitationList"),
    )
    revoke = operation(
        "invitations.revoke", "spaces", "Revoke an invitation (managers)", {}, status=204
    )
    accept = operation(
        "invitations.accept", "spaces", "Come into a space by a code", json_content("Membership")
    )
    create["requestBody"] = json_body("NewInvitation")
    accept["requestBody"] = json_body("Acceptance")
    space = _path_parameter("space")
    return {
        INVITATIONS: {"parameters": [space], "get": listed, "post": create},
        INVITATIONS + "/{invitation}": {
            "parameters": [space, _path_parameter("invitation")],
            "delete": revoke,
        },
        "/v1/invitations/accept": {"post": accept},
    }


def _path_parameter(name: str) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
