"""What nodes tell each other in the bodies of their calls."""

from __future__ import annotations

import msgspec


class ReportBody(msgspec.Struct, forbid_unknown_fields=True):
    """How far a node has read: `sequences` by tenant as (database id, sequence).

    `acknowledged`: by tenant and device number, up to where the node's phones have read. `status`
    holds plain figures for operators.
    """

    epoch: int
    sequences: dict[str, tuple[str, int]] = {}
    acknowledged: dict[str, dict[int, int]] = {}
    status: dict[str, float] = {}


class HeardBody(msgspec.Struct):
    """What the primary answers: who leads; by tenant what is replicated, and its own position.

    `now_unix_ms` is the primary's clock.
    """

    epoch: int
    node: str
    url: str
    grpc_url: str
    replicated: dict[str, int] = {}
    sequences: dict[str, tuple[str, int]] = {}
    now_unix_ms: int = 0


class LeadershipBody(msgspec.Struct, forbid_unknown_fields=True):
    """Who is the primary, and since which epoch: a claim, and what is answered to it."""

    epoch: int
    node: str
    url: str
    grpc_url: str


class JoiningKey(msgspec.Struct, forbid_unknown_fields=True):
    """The public half of a key of a new node's (32 bytes)."""

    kid: str
    public: bytes


class JoiningBody(msgspec.Struct, forbid_unknown_fields=True):
    """A new node: its one-time token, where it can be called, its active and its standby key."""

    token: str
    active: JoiningKey
    standby: JoiningKey
    url: str = ""
    grpc_url: str = ""


class JoinedBody(msgspec.Struct):
    """What a new node is told: who it is, and who leads."""

    node: str
    region: str
    epoch: int
    primary_node: str
    primary_url: str
    primary_grpc_url: str
