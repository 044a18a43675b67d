"""Spaces and members over REST."""

from __future__ import annotations

from typing import Annotated

import msgspec


class Membership(msgspec.Struct):
    """A space and the role in it."""

    space: str
    kind: str
    role: str


class Member(msgspec.Struct):
    """A person and its role in a space."""

    person: str
    role: str


class SpaceList(msgspec.Struct):
    """The spaces the caller is a member of."""

    spaces: list[Membership]


class MemberList(msgspec.Struct):
    """The members of one space."""

    members: list[Member]


class NewMember(msgspec.Struct, forbid_unknown_fields=True):
    """A person's role; `kind` is needed when the space does not exist yet."""

    role: Annotated[str, msgspec.Meta(min_length=1, max_length=48)]
    kind: Annotated[str, msgspec.Meta(min_length=1, max_length=48)] | None = None
