"""What a node has accepted as an edge and judges itself, since it has become the primary.

Invariants
  J1  a mutation that was accepted here is judged here: its phone may never come back
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from edge.errors import Unauthenticated, Unavailable
from edge.services.fleet.models import principal_from_json
from edge.services.fleet.node_tokens import TOLERANCE_S
from sync_protocol.media import Media
from sync_protocol.messages.push import Push
from sync_protocol.mutations import decode_mutations

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge.ports.fleet import OutboxEntry
    from edge.services.identity.trust import Trust
    from edge.services.node import Node
    from sync_protocol.messages.pushed import Pushed

_MS: Final = 1_000


class OwnJudge:
    """The primary, as the drain of its own outbox sees it; implements drain.Judging (J1)."""

    def __init__(self, node: Node, trust: Trust, *, own: str, now_ms: Callable[[], int]) -> None:
        self._node = node
        self._trust = trust
        self._own = own
        self._now_ms = now_ms

    @property
    def is_open(self) -> bool:
        """Never: there is no way to go."""
        return False

    async def relay(self, entries: Sequence[OutboxEntry]) -> Pushed:
        """Judge entries of one device, person and schema version, in order.

        Raises what a push of an edge meets (edge.services.fleet.vouched).
        """
        last = entries[-1]
        principal = principal_from_json(last.principal)
        at_unix_s = min(last.accepted_ms, self._now_ms()) // _MS
        if principal.expires_unix_s + TOLERANCE_S <= at_unix_s:
            raise Unauthenticated("The token has expired.")
        kid = self._trust.active_kid(self._own)
        key = self._trust.find(kid) if kid else None
        if key is None:
            raise Unavailable("This node's key is not known yet.")
        self._trust.require_good(principal, key, at_unix_s=at_unix_s)
        push = Push(
            last.device,
            last.clock,
            last.schema_version,
            [msgspec.Raw(entry.payload) for entry in entries],
        )
        tenant = await self._node.tenant(principal.tenant)
        session = await tenant.devices.session(principal, push.device, push.schema_version)
        return await tenant.ingest.push(session, push, decode_mutations(push, Media.MSGPACK))
