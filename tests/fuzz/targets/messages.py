"""Messages of either side: any bytes, read as both media types."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from sync_protocol import codec, limits
from sync_protocol.errors import MalformedMessage, ProtocolError
from sync_protocol.faults import FaultKind
from sync_protocol.media import Media
from sync_protocol.messages.page import Page
from sync_protocol.messages.poke import Poke
from sync_protocol.messages.provisional import Provisional, ProvisionalMutation
from sync_protocol.messages.push import Push, WireChange, WireMutation
from sync_protocol.messages.pushed import Conflict, Pushed, Receipt, Side
from sync_protocol.messages.repaired import Repaired
from sync_protocol.messages.union import ClientMessage, ServerMessage
from sync_protocol.rows import decode_row
from tests.fuzz.plain import require_plain
from tests.fuzz.target import Target

TESTS = Path(__file__).parents[2]
VECTORS = TESTS.parent / "conformance" / "vectors"
ERROR_CHARACTERS_MAX = 400
ODD_VALUES: tuple[Any, ...] = (b"\x00", 2**60, float("inf"), {1: 2}, {"a": [1.5, None, "é"]})


def other_of(media: Media) -> Media:
    """Return the other media type."""
    return Media.JSON if media is Media.MSGPACK else Media.MSGPACK


def require_answer(error: ProtocolError) -> None:
    """Fail unless an error can be told to the other side, in either media type."""
    fault = error.to_fault()
    assert fault.fault in FaultKind
    assert len(error.message) <= ERROR_CHARACTERS_MAX
    for media in Media:
        assert codec.decode_server(codec.encode(fault, media), media) == fault


def run_client(body: bytes) -> None:
    """What a device sent.

    Invariant: the bytes are refused with an error that can be answered, or are a message that is
    written and read again as itself, in both media types, with the same payload hashes.
    Errors: ProtocolError.
    """
    for media in Media:
        try:
            message = codec.decode_client(body, media)
        except ProtocolError as error:
            require_answer(error)
            continue
        written = codec.encode(message, media)
        assert codec.encode(codec.decode_client(written, media), media) == written
        if isinstance(message, Push):
            _push(message, media)
        else:
            assert _read_client_again(message, other_of(media)) == message


def _read_client_again(message: ClientMessage, media: Media) -> ClientMessage:
    return codec.decode_client(codec.encode(message, media), media)


def _push(push: Push, media: Media) -> None:
    assert len(push.mutations) <= limits.MUTATIONS_PER_PUSH_MAX
    mutations = codec.decode_mutations(push, media)
    assert len(mutations) == len(push.mutations)
    hashes = [codec.payload_hash(each) for each in mutations]
    if not all(isinstance(each, WireMutation) for each in mutations):
        return
    encode = msgspec.json.encode if media is Media.MSGPACK else msgspec.msgpack.encode
    raws = [msgspec.Raw(encode(each)) for each in mutations]
    other = _read_client_again(msgspec.structs.replace(push, mutations=raws), other_of(media))
    assert isinstance(other, Push)
    again = codec.decode_mutations(other, other_of(media))
    assert [codec.payload_hash(each) for each in again] == hashes


def run_server(body: bytes) -> None:
    """What a server sent.

    Invariant: as for a device's message; rows that can be opened are the same in JSON, and as
    canonical bytes again.
    Errors: ProtocolError; MalformedMessage where rows are opened.
    """
    for media in Media:
        try:
            message = codec.decode_server(body, media)
        except ProtocolError as error:
            require_answer(error)
            continue
        written = codec.encode(message, media)
        assert codec.encode(codec.decode_server(written, media), media) == written
        _require_plain_values(message)
        try:
            held = codec.with_rows_from(message, media)
            opened = codec.with_rows_in(held, Media.JSON)
        except MalformedMessage as error:
            require_answer(error)
            continue
        canonical = _through_json(opened)
        _require_readable(canonical)
        assert _through_json(codec.with_rows_in(canonical, Media.JSON)) == canonical
        assert media is Media.MSGPACK or canonical == held
        assert codec.decode_server(codec.encode(canonical)) == canonical


def _through_json(opened: ServerMessage) -> ServerMessage:
    body = codec.encode(opened, Media.JSON)
    return codec.with_rows_from(codec.decode_server(body, Media.JSON), Media.JSON)


def _require_plain_values(message: ServerMessage) -> None:
    for receipt in getattr(message, "receipts", ()):
        for conflict in receipt.conflicts:
            require_plain([conflict.winner.value, conflict.loser.value])
    shown = getattr(message, "provisional", None) or getattr(message, "mutations", ())
    for mutation in shown:
        for change in mutation.changes:
            require_plain(change.fields)


def _require_readable(message: ServerMessage) -> None:
    spaces = message.spaces if isinstance(message, Page | Poke) else []
    spaces = [message.rows] if isinstance(message, Repaired) else spaces
    for space in spaces:
        for rows in codec.decode_space_rows(space).collections.values():
            for row in rows.rows:
                require_plain(decode_row(row)[2])


def _transcripts(side: str) -> Iterator[bytes]:
    scenes = json.loads((VECTORS / "transcripts.json").read_text("utf-8"))["scenes"]
    for scene in scenes.values():
        for line in scene:
            if line["from"] == side:
                yield bytes.fromhex(line["msgpack"])
                yield json.dumps(line["json"]).encode()


def _prior(kinds: frozenset[str]) -> Iterator[bytes]:
    for path in sorted((TESTS / "prior" / "messages").glob("v*/*.bin")):
        if path.stem in kinds:
            yield path.read_bytes()


def client_seeds() -> Iterator[bytes]:
    """Transcripts, messages of earlier releases, and bodies that are known to be refused."""
    yield from _transcripts("client")
    yield from _prior(codec.CLIENT_KINDS)
    faults = json.loads((VECTORS / "faults.json").read_text("utf-8"))
    for each in faults["bodies"].values():
        yield each["json"].encode()


def server_seeds() -> Iterator[bytes]:
    """Transcripts, messages of earlier releases, and values that no message may carry."""
    yield from _transcripts("server")
    yield from _prior(codec.SERVER_KINDS)
    for value in ODD_VALUES:
        side = Side(value, 1, 2)
        receipt = Receipt(1, "superseded", 1, conflicts=[Conflict("c", "r", "f", side, side)])
        change = WireChange("c", "r", fields={"f": value})
        for message in (
            Pushed(1, 1, [], [receipt]),
            Provisional([ProvisionalMutation(3, 1, 1, [change])]),
        ):
            yield codec.encode(message)
            yield codec.encode(message, Media.JSON)


TARGETS = (
    Target("client_messages", run_client, client_seeds, bytes_max=4_096, is_tree=True),
    Target("server_messages", run_server, server_seeds, bytes_max=4_096, is_tree=True),
)
