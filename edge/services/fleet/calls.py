"""Signed calls from this node to another one, by a clock that is corrected when it is apart.

Invariants
  W1  what the other node says of this node's token is never told to a phone as being about its own
  W2  a clock is corrected once for a call: two nodes that disagree for ever fail at once
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from edge.errors import ClockApart, Unavailable
from edge.ports.tracing import NO_TRACER
from edge.services.fleet.node_tokens import NODE_HEADER
from edge.services.fleet.told import told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.ports.fleet import NodeAnswer, NodeCalls
    from edge.ports.tracing import Tracer
    from edge.services.fleet.node_tokens import NodeTokens
    from edge.services.session import Principal

REFUSED_HEADER: Final = "x-skerry-refused"
"""Set to `node` on refusals of a node token, which are not about the request itself."""
OK: Final = 200
_log = structlog.stdlib.get_logger(__name__)


class SignedCalls:
    """NodeCalls with a token of this node on each.

    Only what is done for somebody is traced: reports go out by themselves, many times a second.
    """

    def __init__(self, calls: NodeCalls, tokens: NodeTokens, *, tracer: Tracer = NO_TRACER) -> None:
        self._calls = calls
        self._tokens = tokens
        self._tracer = tracer
        self._ahead_s: dict[str, int] = {}

    @property
    def node(self) -> str:
        """This node's name."""
        return self._tokens.node

    async def request(
        self,
        url: str,
        to: str,
        method: str,
        target: str,
        *,
        headers: Sequence[tuple[bytes, bytes]] = (),
        body: bytes = b"",
        epoch: int = 0,
        forwards: bool = False,
        principal: Principal | None = None,
        accepted_ms: int = 0,
        deadline_s: float,
    ) -> NodeAnswer:
        """Call the node named `to` at `url`; returns whatever it answers to the request itself.

        Raises Unavailable: no answer in time, or the node does not take this node's token.
        """
        tracer = NO_TRACER if self._tracer.traceparent() is None else self._tracer
        with tracer.span("relay", kind="client", node=to) as span:
            given = tracer.inject(headers)
            kept = [(name, value) for name, value in given if name.lower() != NODE_HEADER]
            error = None
            for _ in range(2):  # W2
                token = await self._tokens.sign(
                    to=to,
                    method=method,
                    target=target,
                    body=body,
                    epoch=epoch,
                    forwards=forwards,
                    principal=principal,
                    accepted_ms=accepted_ms,
                    ahead_s=self._ahead_s.get(to, 0),
                )
                signed = [*kept, (NODE_HEADER, token.encode())]
                answer = await self._calls.request(
                    url, method, target, signed, body, deadline_s=deadline_s
                )
                if answer.headers.get(REFUSED_HEADER) != "node":
                    span.put(status=answer.status)
                    return answer
                error = told(answer.body)
                if not isinstance(error, ClockApart):
                    break
                self._ahead_s[to] = error.now_unix_s - self._tokens.now_unix_s()
                _log.warning("node-clocks-apart", node=to, ahead_s=self._ahead_s[to])
            # W1: an `unauthenticated` passed on would make phones sign in again.
            _log.error("node-token-refused", node=to, reason=str(error))
            raise Unavailable(f"The node {to} does not take this node's calls.")

    async def ask(
        self,
        url: str,
        to: str,
        target: str,
        body: bytes,
        *,
        method: str = "POST",
        media: str = "application/json",
        epoch: int = 0,
        principal: Principal | None = None,
        accepted_ms: int = 0,
        deadline_s: float,
    ) -> bytes:
        """Call one of the other node's own endpoints; return the body of its answer.

        Raises what the other node's problem document names, or Unavailable.
        """
        answer = await self.request(
            url,
            to,
            method,
            target,
            headers=[(b"content-type", media.encode())],
            body=body,
            epoch=epoch,
            principal=principal,
            accepted_ms=accepted_ms,
            deadline_s=deadline_s,
        )
        if answer.status == OK:
            return answer.body
        raise told(answer.body)
