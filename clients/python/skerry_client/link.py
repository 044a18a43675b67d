"""What the sync driver needs of a network: send a message, receive the next one, close."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable, signature
from typing import TYPE_CHECKING, Any, Protocol

from skerry_client.errors import SignedOut

if TYPE_CHECKING:
    from sync_protocol.messages.union import ClientMessage, ServerMessage


class TokenKeeper(Protocol):
    """A function that keeps tokens itself, and is told which one the server has refused."""

    async def __call__(self, *, refused: str = "") -> str:
        """Return a token that is not the refused one."""
        ...


TokenSource = str | Callable[[], str] | Callable[[], Awaitable[str]] | TokenKeeper
"""A token; or a function that gets one, called again when the server refuses the last; or one that
takes `refused`, like `Account.token`, called for every link."""


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


class Tokens:
    """The tokens of one sync, from whatever source the app has given."""

    def __init__(self, source: TokenSource) -> None:
        self._source: Any = source
        self._is_keeper = not isinstance(source, str) and _takes_refused(source)
        self._last = ""
        self._refused = ""

    async def get(self) -> str:
        """Return a token; raises SignedOut, LinkLost for whatever else a source raises."""
        if isinstance(self._source, str):
            return self._source
        if self._last and not self._is_keeper:
            return self._last
        try:
            token = self._source(refused=self._refused) if self._is_keeper else self._source()
            self._last = await token if isawaitable(token) else token
        except SignedOut:
            raise
        except Exception as problem:
            raise LinkLost(f"no token: {problem}") from problem
        return self._last

    def refuse(self) -> None:
        """Note that the server does not take the last token."""
        if self._last:
            self._refused, self._last = self._last, ""


def _takes_refused(source: Callable[..., object]) -> bool:
    try:
        return "refused" in signature(source).parameters
    except (TypeError, ValueError):  # a callable without a signature
        return False
