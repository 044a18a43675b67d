"""Bodies of the calls between nodes, and of an operator's commands to its own node."""

from __future__ import annotations

from typing import Annotated

import msgspec

from edge.services.fleet.membership import TTL_S_DEFAULT, TTL_S_MAX
from edge.services.fleet.messages import (
    HeardBody,
    JoinedBody,
    JoiningBody,
    JoiningKey,
    LeadershipBody,
    ReportBody,
)

__all__ = [
    "HeardBody",
    "InvitedBody",
    "InvitingBody",
    "JoinedBody",
    "JoiningBody",
    "JoiningKey",
    "LeadershipBody",
    "NodeBody",
    "NodeNameBody",
    "NodesBody",
    "ReportBody",
    "RevokedBody",
]

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=32)]


class InvitingBody(msgspec.Struct, forbid_unknown_fields=True):
    """A node that may join."""

    node: Name
    region: Name
    ttl_s: Annotated[int, msgspec.Meta(ge=1, le=TTL_S_MAX)] = TTL_S_DEFAULT


class InvitedBody(msgspec.Struct):
    """Its one-time token, told this once."""

    token: str
    expires_ms: int


class NodeNameBody(msgspec.Struct, forbid_unknown_fields=True):
    """The node that is meant."""

    node: Name


class NodeBody(msgspec.Struct):
    """A node of the fleet; `joined_ms` is Unix ms."""

    node: str
    region: str
    url: str
    state: str
    joined_ms: int
    is_primary: bool


class NodesBody(msgspec.Struct):
    """All nodes by name, removed ones too."""

    nodes: list[NodeBody]


class RevokedBody(msgspec.Struct):
    """How many keys were revoked."""

    keys: int
