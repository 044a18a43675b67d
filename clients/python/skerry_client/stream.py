"""The WebSocket link: hello, pushes, pulls, pokes and receipts on one stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from skerry_client.link import LinkLost
from skerry_client.tracing import traced
from skerry_client.transport import fault_of
from sync_protocol import limits
from sync_protocol.codec import decode_server, encode

if TYPE_CHECKING:
    from skerry_client.tracing import Traceparent
    from sync_protocol.messages.fault import Fault
    from sync_protocol.messages.union import ClientMessage, ServerMessage

SUBPROTOCOL: Final = Subprotocol("skerry.v1.msgpack")
OPEN_SECONDS_MAX: Final = 10.0
"""A handshake slower than this is better replaced by plain HTTP."""
PING_SECONDS: Final = 20.0
"""Below the idle limits of the mobile networks' translators, which start at 30 seconds."""


class StreamRefused(Exception):
    """The server has answered the handshake with a fault instead of a stream."""

    is_retryable = False

    def __init__(self, fault: Fault) -> None:
        super().__init__(f"{fault.fault}: {fault.message}")
        self.fault = fault


class StreamLink:
    """Messages over one WebSocket, a binary frame each."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    @classmethod
    async def open(
        cls, url: str, token: str, *, traceparent: Traceparent | None = None
    ) -> StreamLink:
        """Connect to the server at an HTTP address; raise LinkLost or StreamRefused."""
        address = "ws" + url.rstrip("/").removeprefix("http") + "/v1/sync/stream"
        try:
            connection = await connect(
                address,
                subprotocols=[SUBPROTOCOL],
                additional_headers=traced({"Authorization": f"Bearer {token}"}, traceparent),
                max_size=limits.ANSWER_BYTES_MAX,
                open_timeout=OPEN_SECONDS_MAX,
                ping_interval=PING_SECONDS,
            )
        except InvalidStatus as refusal:
            response = refusal.response
            content = bytes(response.body or b"")
            raise StreamRefused(
                fault_of(response.status_code, content, None, headers=response.headers)
            ) from refusal
        except (OSError, TimeoutError, WebSocketException) as problem:
            raise LinkLost(f"{type(problem).__name__}: {problem}") from problem
        return cls(connection)

    async def send(self, message: ClientMessage) -> None:
        """Send one frame."""
        try:
            await self._connection.send(encode(message))
        except (OSError, WebSocketException) as problem:
            raise LinkLost(f"{type(problem).__name__}: {problem}") from problem

    async def receive(self) -> ServerMessage:
        """Wait for the next frame."""
        try:
            frame = await self._connection.recv(decode=False)
        except (OSError, WebSocketException) as problem:
            raise LinkLost(f"{type(problem).__name__}: {problem}") from problem
        return decode_server(frame)

    async def close(self) -> None:
        """Close the stream."""
        await self._connection.close()
