"""One WebSocket of the scripted server: frames to messages and back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from conformance.forms import decoded
from sync_protocol import limits
from sync_protocol.codec import Media, encode, with_rows_in
from sync_protocol.errors import ProtocolError
from sync_protocol.messages.union import ClientMessage, ServerMessage
from sync_protocol.transport import SUBPROTOCOLS

READ_BYTES: Final = 64 * 1024


class WebSocketPeer:
    """The server's end of one stream."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        subprotocols: Sequence[str],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._protocol = ServerProtocol(
            subprotocols=[Subprotocol(name) for name in subprotocols],
            max_size=limits.MESSAGE_BYTES_MAX + READ_BYTES,
        )
        self.media = Media.MSGPACK

    async def accept(self, head: bytes) -> None:
        """Answer the handshake whose head has been read."""
        self._protocol.receive_data(head)
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self._protocol.send_response(self._protocol.accept(event))
        agreed = self._protocol.subprotocol
        self.media = Media.MSGPACK if agreed is None else SUBPROTOCOLS[agreed]
        await self._flush()

    async def messages(self, violations: list[str]) -> AsyncIterator[ClientMessage]:
        """Yield what the client says until the stream ends; note what is no message."""
        parts: list[bytes] = []
        while data := await self._reader.read(READ_BYTES):
            self._protocol.receive_data(data)
            events = self._protocol.events_received()
            await self._flush()
            for event in events:
                if not isinstance(event, Frame) or event.opcode not in _DATA:
                    continue
                parts.append(bytes(event.data))
                if not event.fin:
                    continue
                body, parts = b"".join(parts), []
                try:
                    message = decoded(body, self.media, side="client")
                except ProtocolError as problem:
                    violations.append(f"on the stream: {problem.message}")
                    return
                yield message  # pyright: ignore[reportReturnType]  (a client's)

    async def send(self, message: ServerMessage | bytes) -> None:
        """Send one message as one frame."""
        if isinstance(message, bytes):
            self._protocol.send_binary(message)
        else:
            body = encode(with_rows_in(message, self.media), self.media)
            if self.media is Media.JSON:
                self._protocol.send_text(body)
            else:
                self._protocol.send_binary(body)
        await self._flush()

    def abort(self) -> None:
        """End the connection without a word."""
        self._writer.transport.abort()

    async def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._writer.write(data)
            else:
                self._writer.write_eof()
        await self._writer.drain()


_DATA: Final = frozenset({Opcode.TEXT, Opcode.BINARY, Opcode.CONT})
