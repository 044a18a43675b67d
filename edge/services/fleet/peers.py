"""Calls to other nodes beside the daily work: how are you, who leads, here is the vault."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from core.fleet import Leadership
from edge.errors import EdgeError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from core.fleet import NodeEntry
    from edge.ports.fleet import NodeAnswer, NodeCalls

STATUS_SECONDS_MAX: Final = 2.0
"""A node that does not answer within this is treated as gone for this question."""
VAULT_SECONDS_MAX: Final = 30.0
STATUS_PATH: Final = "/internal/v1/status"
LEADERSHIP_PATH: Final = "/internal/v1/leadership"
VAULT_PATH: Final = "/internal/v1/vault"
_OK: Final = 200


class Signer(Protocol):
    """Signs what one node sends to another."""

    def sign(self, *, audience: str, method: str, target: str, body: bytes) -> str:
        """Return a token for exactly this request."""
        ...


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """What a node says of itself.

    `commits` counts batches by database (`control`, `t-<tenant>`): the same number means the same
    content. `sequences` are by tenant.
    """

    node: str
    role: str
    epoch: int
    sequences: Mapping[str, int]
    commits: Mapping[str, int]


class Peers:
    """The other nodes, called one by one."""

    def __init__(self, calls: NodeCalls, signer: Signer) -> None:
        self._calls = calls
        self._signer = signer

    async def status(self, peer: NodeEntry) -> PeerStatus:
        """Ask a node how it is; raises Unavailable."""
        answer = await self._ask(peer, "GET", STATUS_PATH, b"", STATUS_SECONDS_MAX)
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
        answer = await self._ask(peer, "POST", LEADERSHIP_PATH, body, STATUS_SECONDS_MAX)
        return _decoded(answer, Leadership)

    async def give_vault(self, peer: NodeEntry, content: bytes) -> None:
        """Hand the vault over to the node that leads next."""
        await self._ask(peer, "POST", VAULT_PATH, content, VAULT_SECONDS_MAX)

    async def _ask(
        self, peer: NodeEntry, method: str, target: str, body: bytes, deadline_s: float
    ) -> NodeAnswer:
        token = self._signer.sign(audience=peer.node, method=method, target=target, body=body)
        headers = [(b"x-skerry-node", token.encode()), (b"content-type", b"application/json")]
        answer = await self._calls.request(
            peer.url, method, target, headers, body, deadline_s=deadline_s
        )
        if answer.status != _OK:
            raise Unavailable(f"The node {peer.node} refuses: {answer.body[:300]!r}")
        return answer


def _decoded(answer: NodeAnswer, kind: type[Any]) -> Any:  # noqa: ANN401
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except msgspec.MsgspecError:
        raise Unavailable("Another node answers nonsense.") from None
