"""Calls to other nodes beside the daily work: how are you, who leads, here is the vault."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from core.fleet import Leadership
from edge.errors import EdgeError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.fleet import NodeEntry
    from edge.services.fleet.calls import SignedCalls

T = TypeVar("T")

STATUS_SECONDS_MAX: Final = 2.0
"""A node that does not answer within this is treated as gone for this question."""
VAULT_SECONDS_MAX: Final = 30.0
STATUS_PATH: Final = "/internal/v1/status"
LEADERSHIP_PATH: Final = "/internal/v1/leadership"
VAULT_PATH: Final = "/internal/v1/vault"


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """What a node says of itself.

    `commits` counts batches by database (`control`, `t-<tenant>`): the same number means the same
    content. `sequences` are by tenant; `numbers` are plain figures for operators: `lag_ms`,
    `sequences_behind`, `outbox`, `outbox_age_s`, `streams`, `breaker` (0 closed, 2 open).
    """

    node: str
    role: str
    epoch: int
    sequences: Mapping[str, int]
    commits: Mapping[str, int]
    numbers: Mapping[str, float]
    version: str


class Peers:
    """The other nodes, called one by one."""

    def __init__(self, calls: SignedCalls) -> None:
        self._calls = calls

    async def status(self, peer: NodeEntry) -> PeerStatus:
        """Ask a node how it is; raises Unavailable."""
        answer = await self._calls.ask(
            peer.url, peer.node, STATUS_PATH, b"", method="GET", deadline_s=STATUS_SECONDS_MAX
        )
        return _decoded(answer, PeerStatus)

    async def statuses(self, peers: Iterable[NodeEntry]) -> dict[str, PeerStatus]:
        """Ask several nodes at once; those that do not answer are left out."""
        asked = list(peers)
        found = await asyncio.gather(*map(self.status, asked), return_exceptions=True)
        for outcome in found:
            if isinstance(outcome, BaseException) and not isinstance(outcome, EdgeError):
                raise outcome
        return {
            peer.node: outcome
            for peer, outcome in zip(asked, found, strict=True)
            if isinstance(outcome, PeerStatus)
        }

    async def announce(self, peer: NodeEntry, claim: Leadership) -> Leadership:
        """Tell a node who leads; returns whom it takes for the primary then."""
        body = msgspec.json.encode(claim)
        answer = await self._calls.ask(
            peer.url, peer.node, LEADERSHIP_PATH, body, deadline_s=STATUS_SECONDS_MAX
        )
        return _decoded(answer, Leadership)

    async def give_vault(self, peer: NodeEntry, content: bytes) -> None:
        """Hand the vault over to the node that leads next."""
        await self._calls.ask(
            peer.url, peer.node, VAULT_PATH, content, deadline_s=VAULT_SECONDS_MAX
        )


def _decoded(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError:
        raise Unavailable("Another node answers nonsense.") from None
