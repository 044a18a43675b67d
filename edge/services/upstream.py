"""The way from a process that does not write to the one that does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from edge.services.session import Principal
    from sync_protocol.messages.hello import Hello
    from sync_protocol.messages.push import Push
    from sync_protocol.messages.pushed import Pushed
    from sync_protocol.messages.welcome import Welcome


class Upstream(Protocol):
    """What a stream or a push endpoint hands on.

    Raises Unavailable when the other side is away; sending again is harmless. Whatever else the
    writer refuses comes as the error it names.
    """

    async def hello(self, principal: Principal, token: str, hello: Hello) -> Welcome:
        """Introduce a device where its number is given."""
        ...

    async def push(self, principal: Principal, token: str, push: Push) -> Pushed:
        """Hand a push on; its mutations are encoded as MessagePack."""
        ...
