"""What the sync driver needs of a network: send a message, receive the next one, close."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sync_protocol.messages.union import ClientMessage, ServerMessage

TokenSource = str | Callable[[], str] | Callable[[], Awaitable[str]]
"""A token, or a function that gets one; it is called again when the server refuses the last."""


class LinkLost(Exception):
    """The network, or whoever answers in the server's place, has failed; trying again may help."""

    is_retryable = True

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Link(Protocol):
    """One connection to a server, as long as it lasts."""

    async def send(self, message: ClientMessage) -> None:
        """Send a message; raise LinkLost."""
        ...

    async def receive(self) -> ServerMessage:
        """Wait for the next message; raise LinkLost, or a ProtocolError for garbage."""
        ...

    async def close(self) -> None:
        """Let go of the connection; never raises."""
        ...


async def get_token(source: TokenSource) -> str:
    """Ask a token source; whatever it raises is network trouble to the sync."""
    if isinstance(source, str):
        return source
    try:
        token = source()
        return await token if isawaitable(token) else token
    except Exception as problem:
        raise LinkLost(f"no token: {problem}") from problem
