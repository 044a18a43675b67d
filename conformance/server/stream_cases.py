"""What a server says on a WebSocket: hello first, answers, and pokes without gaps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from conformance.case import CaseList, Failed, expect, require
from conformance.forms import decoded
from conformance.server.independent import digest_of
from conformance.server.node import ANN, BEN, Node
from conformance.server.raw_phone import FINGERPRINT, RawPhone, Round, expected_message, take_rows
from sync_protocol import limits
from sync_protocol.codec import encode
from sync_protocol.media import Media
from sync_protocol.messages.fault import Fault
from sync_protocol.messages.hello import Hello
from sync_protocol.messages.page import Page
from sync_protocol.messages.poke import Poke
from sync_protocol.messages.pull import Pull
from sync_protocol.messages.pushed import Pushed
from sync_protocol.messages.union import ClientMessage, ServerMessage
from sync_protocol.messages.welcome import Welcome
from sync_protocol.transport import STREAM_PATH

stream: Final = CaseList[Node]("stream")
HEAR_SECONDS_MAX: Final = 10.0
"""A poke that has not come by then does not come."""
SUBPROTOCOLS: Final = {
    Media.MSGPACK: Subprotocol("skerry.v1.msgpack"),
    Media.JSON: Subprotocol("skerry.v1.json"),
}


class RawStream:
    """One WebSocket, message by message."""

    def __init__(self, socket: ClientConnection, media: Media) -> None:
        self._socket = socket
        self.media = media

    async def send(self, message: ClientMessage) -> None:
        """Send a message as one frame of the stream's kind."""
        body = encode(message, self.media)
        await self._socket.send(body.decode() if self.media is Media.JSON else body)

    async def hear(self) -> ServerMessage:
        """Wait for the next message."""
        frame = await asyncio.wait_for(self._socket.recv(), HEAR_SECONDS_MAX)
        is_text = isinstance(frame, str)
        expect("whether the frame is text", is_text, self.media is Media.JSON)
        body = frame.encode() if isinstance(frame, str) else bytes(frame)
        return decoded(body, self.media, side="server")  # pyright: ignore[reportReturnType]  (a server's)

    async def hear_poke(self) -> Poke:
        """Wait for the next poke that tells of rows; news pass."""
        while True:
            message = await self.hear()
            if not isinstance(message, Poke):
                raise Failed("the message", expected="a poke", got=type(message).__name__)
            if not message.is_news:
                return message

    async def end(self) -> list[str]:
        """Return what is said until the server closes, by the faults' kinds."""
        faults: list[str] = []
        try:
            while True:
                message = await self.hear()
                if isinstance(message, Fault):
                    faults.append(message.fault.value)
        except ConnectionClosed:
            return faults


@asynccontextmanager
async def streamed(
    node: Node, *, media: Media = Media.MSGPACK, person: str = ANN
) -> AsyncIterator[RawStream]:
    """Open a stream."""
    url = node.url.replace("http", "ws", 1) + STREAM_PATH
    token = await node.people.token(person)
    async with connect(
        url,
        subprotocols=[SUBPROTOCOLS[media]],
        additional_headers={"Authorization": f"Bearer {token}"},
        max_size=limits.ANSWER_BYTES_MAX,
        proxy=None,
    ) as socket:
        expect("the subprotocol agreed on", socket.subprotocol, str(SUBPROTOCOLS[media]))
        yield RawStream(socket, media)


def hello_of(node: Node) -> Hello:
    """Return the hello of a new installation."""
    return Hello(1, "conformance", 1, FINGERPRINT, node.new_id("phone"), node.clock())


async def subscribed(node: Node, heard: RawStream, *, rows_max: int = 5_000) -> tuple[int, Round]:
    """Say hello and read a round over a stream; return the device and what was read."""
    await heard.send(hello_of(node))
    welcome = expected_message(await heard.hear(), Welcome)
    told = Round()
    while not told.pages or told.last.more:
        cursor = told.last.cursor if told.pages else None
        await heard.send(Pull(welcome.device, 1, cursor, rows_max=rows_max))
        page = expected_message(await heard.hear(), Page)
        told.pages.append(page)
        take_rows(told, page.spaces)
    return welcome.device, told


async def _pokes(node: Node, media: Media) -> None:
    writer = await RawPhone.greeted(node, person=BEN)
    rows = [node.new_id() for _ in range(4)]
    async with streamed(node, media=media) as heard:
        _, told = await subscribed(node, heard)
        at = told.last.cursor.sequence
        sequence = at
        for row in rows:
            insert, edit = writer.insert(row, title="a"), writer.edit(row, amount={"add": 1})
            sequence = (await writer.push(insert, edit)).sequence
        while at < sequence:
            poke = await heard.hear_poke()
            is_next = poke.since <= at < poke.sequence
            require("a poke", holds=is_next, got=[poke.since, poke.sequence], expected=f"from {at}")
            expect("whether it says pull", poke.pull, expected=False)
            at = poke.sequence
            take_rows(told, poke.spaces)
            digest = poke.digests.get(node.space, b"").hex()
            expect("the digest of a poke", digest, digest_of(told.of_space(node.space)))
        for row in rows:
            expect("the row of a poke", told.state(row)["amount"], [0, 1])


@stream("pokes")
async def _pokes_msgpack(node: Node) -> None:
    """Each poke begins where the one before ended, with the rows and a true digest."""
    await _pokes(node, Media.MSGPACK)


@stream("json-pokes")
async def _pokes_json(node: Node) -> None:
    """So it is in JSON."""
    await _pokes(node, Media.JSON)


@stream("own-writes")
async def _own_writes(node: Node) -> None:
    """A push over the stream is answered, and the device is poked about its own write."""
    async with streamed(node) as heard:
        device, told = await subscribed(node, heard)
        phone, row = RawPhone(node), node.new_id()
        phone.device = device
        await heard.send(phone.to_push([phone.insert(row, title="a")]))
        pushed: Pushed | None = None
        at = told.last.cursor.sequence
        while pushed is None or at < pushed.sequence:
            message = await heard.hear()
            if isinstance(message, Pushed):
                pushed = message
            elif isinstance(message, Poke) and not message.is_news:
                at = message.sequence
                take_rows(told, message.spaces)
        expect("the title", told.state(row)["title"][2], "a")


@stream("strangers")
async def _strangers(node: Node) -> None:
    """A poke holds nothing of a space that its receiver is not in."""
    ann = await RawPhone.greeted(node)
    there = ann.change(node.new_id(), "insert", title="a")
    there.space = node.other_space
    async with streamed(node, person=BEN) as heard:
        await subscribed(node, heard)
        await ann.push(ann.mutation(there))
        row = node.new_id()
        await ann.push(ann.insert(row, title="b"))
        told = Round()
        while not any(key[2] == row for key in told.rows):
            poke = await heard.hear_poke()
            take_rows(told, poke.spaces)
            spaces = sorted({key[0] for key in told.rows} | set(poke.digests))
            expect("the spaces of a poke", [s for s in spaces if s == node.other_space], [])


@stream("no-pokes-before-a-round")
async def _no_early_pokes(node: Node) -> None:
    """Pokes begin after a page with a checkpoint, and none is missing from there on."""
    writer = await RawPhone.greeted(node, person=BEN)
    for _ in range(3):
        await writer.push(writer.insert(node.new_id(), title="a"))
    async with streamed(node) as heard:
        await heard.send(hello_of(node))
        welcome = expected_message(await heard.hear(), Welcome)
        await writer.push(writer.insert(node.new_id(), title="a"))
        await heard.send(Pull(welcome.device, 1, rows_max=1))
        expected_message(await heard.hear(), Page)


async def _closed_with(node: Node, sent: list[ClientMessage | bytes], *faults: str) -> None:
    async with streamed(node) as heard:
        for message in sent:
            if isinstance(message, bytes):
                await heard._socket.send(message)  # noqa: SLF001  (our own)
            else:
                await heard.send(message)
        said = await heard.end()
        is_told = bool(said) and said[-1] in faults
        require("the last word", holds=is_told, got=said, expected=" or ".join(faults))


@stream("hello-first")
async def _hello_first(node: Node) -> None:
    """Whatever comes before hello is out of turn, and ends the stream."""
    await _closed_with(node, [Pull(2, 1)], "out-of-turn")


@stream("hello-once")
async def _hello_once(node: Node) -> None:
    """So is a second hello."""
    hello = hello_of(node)
    await _closed_with(node, [hello, msgspec.structs.replace(hello, counter=1)], "out-of-turn")


@stream("another-device")
async def _another_device(node: Node) -> None:
    """So is a message with another device's number."""
    await _closed_with(
        node, [hello_of(node), Pull(4_000_000_000, 1)], "out-of-turn", "unknown-device"
    )


@stream("garbage")
async def _garbage(node: Node) -> None:
    """Frames that are no message end the stream with a typed fault."""
    for frame in (b"", b"\xc1", b"\x81\xa4kind\xa5shout"):
        await _closed_with(node, [hello_of(node), frame], "malformed", "unknown-message")


@stream("protocol-version")
async def _protocol_version(node: Node) -> None:
    """A protocol that is not spoken is said so, and the stream ends."""
    hello = msgspec.structs.replace(hello_of(node), protocol=2)
    await _closed_with(node, [hello], "protocol-version")


@stream("gap-goes-on")
async def _gap_goes_on(node: Node) -> None:
    """A `counter-gap` names its request and where to go on, and the stream goes on."""
    async with streamed(node) as heard:
        device, _ = await subscribed(node, heard)
        phone = RawPhone(node)
        phone.device, phone.counter = device, 1
        await heard.send(phone.to_push([phone.insert(node.new_id(), title="a")]))
        message = await heard.hear()
        require("the answer", holds=isinstance(message, Fault), got=type(message).__name__)
        assert isinstance(message, Fault)
        expect("fault, answers, merged_through", [
            message.fault.value, message.answers, message.merged_through
        ], ["counter-gap", "push", 0])  # fmt: skip
        phone.counter = 0
        await heard.send(phone.to_push([phone.insert(node.new_id(), title="a")]))
        while not isinstance(message := await heard.hear(), Pushed):
            require("a message", holds=isinstance(message, Poke), got=type(message).__name__)


@stream("no-token")
async def _no_token(node: Node) -> None:
    """Without a good token there is no stream."""
    url = node.url.replace("http", "ws", 1) + STREAM_PATH
    try:
        async with connect(url, subprotocols=[SUBPROTOCOLS[Media.MSGPACK]], proxy=None) as socket:
            said = await RawStream(socket, Media.MSGPACK).end()
    except InvalidStatus as refused:
        expect("the status of the handshake", refused.response.status_code, 401)
        return
    expect("what is said before it is closed", said, ["unauthenticated"])


@stream("browsers")
async def _browsers(node: Node) -> None:
    """A token may come as a second subprotocol, which the server never selects."""
    token = await node.people.token(ANN)
    url = node.url.replace("http", "ws", 1) + STREAM_PATH
    offered = [SUBPROTOCOLS[Media.JSON], Subprotocol(f"bearer.{token}")]
    async with connect(url, subprotocols=offered, proxy=None) as socket:
        expect("the subprotocol agreed on", socket.subprotocol, "skerry.v1.json")
        heard = RawStream(socket, Media.JSON)
        await heard.send(hello_of(node))
        expected_message(await heard.hear(), Welcome)
