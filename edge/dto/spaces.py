"""Spaces, members and invitations over REST."""

from __future__ import annotations

from typing import Annotated

import msgspec

from edge.services.invitations import EMAIL_LENGTH_MAX, TTL_S_DEFAULT, TTL_S_MAX, USES_MAX

CODE_LENGTH_MAX = 200
"""Longer than any code; what is shorter is answered as a wrong code is."""
Word = Annotated[str, msgspec.Meta(min_length=1, max_length=48)]
"""The name of a kind of space, or of a role."""


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


class NewSpace(msgspec.Struct, forbid_unknown_fields=True):
    """A space to be made; only administrators choose its id."""

    kind: Word
    space: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None


class FoundedSpace(msgspec.Struct):
    """A new space; `role` is the caller's in it, null when the app names none for founders."""

    space: str
    kind: str
    role: str | None


class NewMember(msgspec.Struct, forbid_unknown_fields=True):
    """A person's role; `kind` is needed when the space does not exist yet."""

    role: Word
    kind: Word | None = None


class NewInvitation(msgspec.Struct, forbid_unknown_fields=True):
    """An invitation to be made; `email` is a note of whom it is for: nothing is sent."""

    role: Word
    email: Annotated[str, msgspec.Meta(min_length=1, max_length=EMAIL_LENGTH_MAX)] | None = None
    uses: Annotated[int, msgspec.Meta(ge=1, le=USES_MAX)] = 1
    ttl_s: Annotated[int, msgspec.Meta(ge=1, le=TTL_S_MAX)] = TTL_S_DEFAULT


class IssuedInvitation(msgspec.Struct):
    """A new invitation; its code is told this once."""

    id: str
    code: str
    expires_ms: int


class Invitation(msgspec.Struct):
    """An open invitation, as managers see it; times are Unix ms."""

    id: str
    role: str
    inviter: str
    email: str | None
    uses: int
    used: int
    created_ms: int
    expires_ms: int


class InvitationList(msgspec.Struct):
    """The open invitations to one space, oldest first."""

    invitations: list[Invitation]


class Acceptance(msgspec.Struct, forbid_unknown_fields=True):
    """The code of an invitation, presented by whoever wants to come in."""

    code: Annotated[str, msgspec.Meta(min_length=1, max_length=CODE_LENGTH_MAX)]
