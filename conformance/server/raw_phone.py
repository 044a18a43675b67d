"""A phone made of raw messages: it does what a case says, the wrong things included."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar

import msgspec

from conformance.case import Failed
from conformance.server import known_app
from conformance.server.node import ANN, Node
from sync_protocol.codec import encode
from sync_protocol.fingerprint import fingerprint
from sync_protocol.media import Media
from sync_protocol.messages.cursor import Cursor
from sync_protocol.messages.hello import Hello
from sync_protocol.messages.page import Page
from sync_protocol.messages.pull import Pull
from sync_protocol.messages.push import Push, WireChange, WireMutation
from sync_protocol.messages.pushed import Pushed
from sync_protocol.messages.repair import Repair
from sync_protocol.messages.repaired import Repaired
from sync_protocol.messages.union import ClientMessage, ServerMessage
from sync_protocol.messages.welcome import Welcome
from sync_protocol.space_rows import decode_space_rows

M = TypeVar("M", Welcome, Pushed, Page, Repaired)
Key = tuple[str, str, str]
"""Space, collection, row."""
PAGES_MAX: Final = 2_000
"""A round that has more pages does not end."""
FINGERPRINT: Final = fingerprint(known_app.app)


@dataclass(slots=True)
class Round:
    """Everything that the pages of one round told."""

    pages: list[Page] = field(default_factory=list[Page])
    rows: dict[Key, bytes] = field(default_factory=dict[Key, bytes])
    sequences: list[int] = field(default_factory=list[int])
    """In the order the rows came."""

    @property
    def last(self) -> Page:
        """The page with the checkpoint."""
        return self.pages[-1]

    @property
    def gained(self) -> list[str]:
        """The spaces that were gained."""
        return [each.space for page in self.pages for each in page.gained]

    @property
    def lost(self) -> list[str]:
        """The spaces that were lost."""
        return [space for page in self.pages for space in page.lost]

    def of_space(self, space: str) -> list[bytes]:
        """Return the rows of one space."""
        return [row for key, row in self.rows.items() if key[0] == space]

    def state(self, row: str, collection: str = "item") -> dict[str, Any]:
        """Return the states of a row by its id."""
        for (_, name, row_id), held in self.rows.items():
            if (name, row_id) == (collection, row):
                return msgspec.msgpack.decode(held)[2]
        raise Failed(f"the row {row}", expected="it is in the round", got="it is not")

    def alive(self, row: str, collection: str = "item") -> list[Any]:
        """Return the alive register of a row."""
        for (_, name, row_id), held in self.rows.items():
            if (name, row_id) == (collection, row):
                return msgspec.msgpack.decode(held)[1]
        raise Failed(f"the row {row}", expected="it is in the round", got="it is not")


class RawPhone:
    """One installation of a person's; `media` is how its bodies are written."""

    def __init__(self, node: Node, *, person: str = ANN, media: Media = Media.MSGPACK) -> None:
        self.node = node
        self.person = person
        self.media = media
        self.installation = node.new_id("phone")
        self.device = 0
        self.counter = 0

    @classmethod
    async def greeted(cls, node: Node, **arguments: Any) -> RawPhone:  # noqa: ANN401  (handed on)
        """Return a phone that has said hello."""
        phone = cls(node, **arguments)
        await phone.hello()
        return phone

    async def hello(self, **changes: Any) -> Welcome:  # noqa: ANN401  (fields of a hello)
        """Say hello, and be the device that the server says."""
        given = Hello(
            protocol=1,
            app=known_app.app.name,
            schema_version=1,
            fingerprint=FINGERPRINT,
            installation=self.installation,
            clock=self.node.clock(),
            counter=self.counter,
        )
        welcome = await self.ask(msgspec.structs.replace(given, **changes), Welcome)
        self.device = welcome.device
        return welcome

    # --- writing -----------------------------------------------------------------------------

    def mutation(self, *changes: WireChange, h: int | None = None) -> WireMutation:
        """Return the next mutation."""
        self.counter += 1
        stamp = self.node.clock() if h is None else h
        return WireMutation(self.counter, stamp, list(changes))

    def change(
        self,
        row: str,
        op: Literal["insert", "edit", "delete", "restore"] = "edit",
        *,
        collection: str = "item",
        **fields: Any,  # noqa: ANN401  (payloads)
    ) -> WireChange:
        """Return a change; an insert goes to the space that both people are in."""
        space = self.node.space if op == "insert" else ""
        return WireChange(collection, row, op, space, fields)

    def insert(self, row: str, **fields: Any) -> WireMutation:  # noqa: ANN401  (payloads)
        """Return a mutation that inserts an item."""
        return self.mutation(self.change(row, "insert", **fields))

    def edit(self, row: str, **fields: Any) -> WireMutation:  # noqa: ANN401  (payloads)
        """Return a mutation that edits an item."""
        return self.mutation(self.change(row, **fields))

    async def push(self, *mutations: WireMutation | object, **changes: Any) -> Pushed:  # noqa: ANN401
        """Push mutations, or whatever a case gives in their place."""
        return await self.ask(self.to_push(mutations, **changes), Pushed)

    def to_push(self, mutations: Iterable[object], **changes: Any) -> Push:  # noqa: ANN401
        """Return a push, its mutations written in the phone's media type."""
        written = msgspec.json.encode if self.media is Media.JSON else msgspec.msgpack.encode
        raws = [msgspec.Raw(written(mutation)) for mutation in mutations]
        push = Push(self.device, self.node.clock(), 1, raws)
        return msgspec.structs.replace(push, **changes)

    # --- reading -----------------------------------------------------------------------------

    async def pull(self, cursor: Cursor | None = None, **changes: Any) -> Page:  # noqa: ANN401
        """Ask for one page."""
        asked = Pull(self.device, 1, cursor)
        return await self.ask(msgspec.structs.replace(asked, **changes), Page)

    async def round(self, cursor: Cursor | None = None, **changes: Any) -> Round:  # noqa: ANN401
        """Read a whole round."""
        read = Round()
        while not read.pages or read.last.more:
            if len(read.pages) == PAGES_MAX:
                raise Failed("the pages of a round", expected="an end", got=f"{PAGES_MAX} pages")
            page = await self.pull(read.last.cursor if read.pages else cursor, **changes)
            read.pages.append(page)
            take_rows(read, page.spaces)
        return read

    async def repair(self, digests: dict[str, list[bytes]], *, space: str = "") -> Repaired:
        """Show bucket digests of a space."""
        asked = Repair(self.device, 1, space or self.node.space, digests)
        return await self.ask(asked, Repaired)

    # --- the wire ----------------------------------------------------------------------------

    async def token(self) -> str:
        """Return the person's token."""
        return await self.node.people.token(self.person)

    async def ask(self, message: ClientMessage, answer: type[M]) -> M:
        """Send a message and return its answer; raise Refused for a fault."""
        request = str(message.__struct_config__.tag)
        reply = await self.node.post(
            request, encode(message, self.media), token=await self.token(), media=self.media.value
        )
        return expected_message(reply.message(), answer)


def take_rows(read: Round, spaces: Iterable[msgspec.Raw]) -> None:
    """Add rows of a page or poke to what was read."""
    for space in map(decode_space_rows, spaces):
        for name, rows in space.collections.items():
            read.sequences += rows.sequences
            for row in rows.rows:
                held = bytes(row)
                read.rows[space.space, name, msgspec.msgpack.decode(held)[0]] = held


def expected_message(message: ServerMessage, kind: type[M]) -> M:
    """Return a message of the expected kind; raise Failed for another."""
    if not isinstance(message, kind):
        raise Failed(
            "the answer", expected=kind.__name__.lower(), got=type(message).__name__.lower()
        )
    return message
