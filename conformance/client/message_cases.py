"""Every message of the golden transcripts, encoded and decoded by an adapter in both media.

A client encodes what clients say and decodes what servers say (`msgpack`, `json`); `peer` asks for
the other direction too, and for what a server makes of bad bodies.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from conformance import vectors
from conformance.case import Case, CaseList, Failed, expect
from conformance.client.adapter import Adapter
from conformance.forms import decoded, in_json, row_bytes
from sync_protocol.codec import Media
from sync_protocol.errors import ProtocolError

bad: Final = CaseList[Adapter]("bad", needs="peer")


@bad("bodies")
async def _bodies(adapter: Adapter) -> None:
    """Bodies that are no message, and the fault each is answered with."""
    for name, each in vectors.read("faults.json")["bodies"].items():
        got = await adapter.ask("message.decode", media="json", side="client", body=each["json"])
        expect(f"message.decode of {name!r}", got, {"fault": each["fault"]})


@bad("mutations")
async def _mutations(adapter: Adapter) -> None:
    """Malformed mutations, and the counter that each takes."""
    listed = vectors.read("faults.json")["mutations"]
    got = await adapter.ask("mutations.decode", mutations=[each["json"] for each in listed])
    expected = [{name: each[name] for name in ("is_malformed", "counter")} for each in listed]
    expect("mutations.decode", got, expected)


def messages() -> Iterator[Case[Adapter]]:
    """Yield one case for each scene, direction and media type."""
    for scene, lines in vectors.read("transcripts.json")["scenes"].items():
        name = scene.replace(" ", "-")
        for media, word in ((Media.MSGPACK, "msgpack"), (Media.JSON, "json")):
            yield Case(
                f"messages/{name}-{word}",
                f"What a client encodes and decodes in {scene!r}.",
                partial(_scene, lines=lines, media=media, word=word, encoder="client"),
                word,
            )
            yield Case(
                f"messages/{name}-{word}-peer",
                f"What a server encodes and decodes in {scene!r}.",
                partial(_scene, lines=lines, media=media, word=word, encoder="server"),
                "peer",
            )


async def _scene(
    adapter: Adapter, *, lines: list[dict[str, Any]], media: Media, word: str, encoder: str
) -> None:
    for number, line in enumerate(lines):
        what = f"line {number} ({line['json']['kind']})"
        if line["from"] == encoder:
            await _encoded(adapter, line, media, word, what)
        else:
            await _decoded(adapter, line, word, what)


async def _decoded(adapter: Adapter, line: dict[str, Any], word: str, what: str) -> None:
    body = line["msgpack"] if word == "msgpack" else json.dumps(line["json"])
    got = await adapter.ask("message.decode", media=word, side=line["from"], body=body)
    expect(f"message.decode of {what}", got, {"message": line["json"]})


async def _encoded(
    adapter: Adapter, line: dict[str, Any], media: Media, word: str, what: str
) -> None:
    side = line["from"]
    given = line["json"]
    got = await adapter.ask("message.encode", media=word, side=side, message=given)
    try:
        body = bytes.fromhex(got) if media is Media.MSGPACK else str(got).encode()
        message = decoded(body, media, side=side)
    except (ProtocolError, ValueError, TypeError) as problem:
        expected = given if media is Media.JSON else line["msgpack"]
        raise Failed(
            f"message.encode of {what}", expected=expected, got=f"{got} ({problem})"
        ) from None
    expect(f"message.encode of {what}, read back", in_json(message), given)
    canonical = decoded(bytes.fromhex(line["msgpack"]), Media.MSGPACK, side=side)
    expect(f"the canonical rows of {what}", row_bytes(message), row_bytes(canonical))
