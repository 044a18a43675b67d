"""What a server makes of bytes: both media types, encodings, limits, and bodies that are bad."""

from __future__ import annotations

import json
import zlib
from typing import Final

import msgspec
import zstandard

from conformance import vectors
from conformance.case import CaseList, expect, require
from conformance.server.node import BEN, Node, Reply, refusal
from conformance.server.push_cases import outcomes, told
from conformance.server.raw_phone import RawPhone
from sync_protocol import limits
from sync_protocol.codec import encode
from sync_protocol.media import Media
from sync_protocol.messages.pull import Pull

wire: Final = CaseList[Node]("wire")
REQUESTS: Final = ("hello", "push", "pull", "repair")


def expect_fault(what: str, reply: Reply, *faults: str) -> None:
    """An answer is one of these faults, and no failure of the server's own."""
    is_refused = 400 <= reply.status < 500
    require(f"the status for {what}", holds=is_refused, got=reply.status, expected="400 to 499")
    fault = reply.problem()["fault"]
    require(f"the fault for {what}", holds=fault in faults, got=fault, expected=" or ".join(faults))


@wire("both-media")
async def _both_media(node: Node) -> None:
    """JSON and MessagePack say the same, and a repeat is known whichever carries it."""
    phone, row = await RawPhone.greeted(node), node.new_id()
    text = "røyk \U0001f600"
    change = phone.change(
        row, "insert", title=text, amount={"add": 1}, tags={"add": ["å", "b"], "remove": {}}
    )
    mutation = phone.mutation(change)
    first = await phone.push(mutation)
    packed = await phone.round()
    phone.media = Media.JSON
    expect("the answer to a repeat in JSON", told(await phone.push(mutation)), told(first))
    plain = await phone.round()
    expect("the rows in JSON", [row.hex() for row in plain.rows.values()], [
        row.hex() for row in packed.rows.values()
    ])  # fmt: skip
    expect("the title", plain.state(row)["title"][2], text)
    second = phone.edit(row, amount={"add": 1})
    first = await phone.push(second)
    phone.media = Media.MSGPACK
    expect("the answer to a repeat in MessagePack", told(await phone.push(second)), told(first))


@wire("accept")
async def _accept(node: Node) -> None:
    """The answer comes in the type that Accept names, else in the request's."""
    phone = await RawPhone.greeted(node)
    body, token = encode(Pull(phone.device, 1), Media.JSON), await phone.token()
    for accept, expected in (
        ("application/msgpack", Media.MSGPACK),
        ("application/json", Media.JSON),
        ("", Media.JSON),
    ):
        headers = {"accept": accept} if accept else {"accept": "*/*"}
        reply = await node.post("pull", body, token=token, media=Media.JSON.value, headers=headers)
        got = reply.content_type.partition(";")[0]
        expect(f"the type for Accept: {accept or '*/*'}", got, expected.value)


@wire("encodings")
async def _encodings(node: Node) -> None:
    """Bodies may be compressed with zstd or gzip; no other encoding is spoken."""
    phone = await RawPhone.greeted(node)
    body, token = encode(Pull(phone.device, 1)), await phone.token()
    packed = {
        "zstd": zstandard.ZstdCompressor().compress(body),
        "gzip": zlib.compress(body, wbits=31),
        "identity": body,
    }
    for name, content in packed.items():
        for admitted in packed:
            headers = {"content-encoding": name, "accept-encoding": admitted}
            reply = await node.post("pull", content, token=token, headers=headers)
            expect(f"the status for {name}, answered in {admitted}", reply.status, 200)
            reply.message()
    reply = await node.post("pull", body, token=token, headers={"content-encoding": "br"})
    expect_fault("Content-Encoding: br", reply, "unsupported-media")
    for what, content in (("half a frame", packed["zstd"][:-3]), ("no frame", b"\x28\xb5\x2f")):
        reply = await node.post("pull", content, token=token, headers={"content-encoding": "zstd"})
        expect_fault(what, reply, "malformed")


@wire("bombs")
async def _bombs(node: Node) -> None:
    """What grows beyond a message's limit is refused, however small it came."""
    phone = await RawPhone.greeted(node)
    token, plain = await phone.token(), bytes(limits.MESSAGE_BYTES_MAX * 8)
    for name, content in (
        ("zstd", zstandard.ZstdCompressor().compress(plain)),
        ("gzip", zlib.compress(plain, wbits=31)),
    ):
        reply = await node.post("pull", content, token=token, headers={"content-encoding": name})
        expect_fault(f"a bomb of {name}", reply, "too-large")


@wire("bad-bodies")
async def _bad_bodies(node: Node) -> None:
    """Bodies that are no message are answered with a typed fault, wherever they come."""
    phone = await RawPhone.greeted(node)
    token, media = await phone.token(), Media.JSON.value
    for name, each in vectors.read("faults.json")["bodies"].items():
        for request in REQUESTS:
            reply = await node.post(request, each["json"].encode(), token=token, media=media)
            expect_fault(f"{name!r} at {request}", reply, each["fault"], "malformed")
    for content in (
        b"",
        b"\xc1",
        b"\x80",
        b"\xff" * 40,
        b"\x81\xa4kind\xa4pull",
        b"\xdd\xff\xff\xff\xff",
    ):
        for request in REQUESTS:
            reply = await node.post(request, content, token=token)
            expect_fault(f"{content[:8].hex()} at {request}", reply, "malformed", "unknown-message")


@wire("another-message")
async def _another_message(node: Node) -> None:
    """Each address takes its own message."""
    phone = await RawPhone.greeted(node)
    body, token = encode(Pull(phone.device, 1)), await phone.token()
    for request in ("hello", "push", "repair"):
        expect_fault(
            f"a pull at {request}", await node.post(request, body, token=token), "malformed"
        )


@wire("media-types")
async def _media_types(node: Node) -> None:
    """A Content-Type that is not spoken is refused; none at all means MessagePack."""
    phone = await RawPhone.greeted(node)
    body, token = encode(Pull(phone.device, 1)), await phone.token()
    for media in ("text/plain", "application/xml", "application/json; charset=latin-1"):
        reply = await node.post("pull", body, token=token, media=media)
        expect_fault(media, reply, "unsupported-media")
    expect("no Content-Type", (await node.post("pull", body, token=token, media=None)).status, 200)


@wire("tokens")
async def _tokens(node: Node) -> None:
    """Without a good token nothing is answered."""
    phone = await RawPhone.greeted(node)
    good, body = await phone.token(), encode(Pull(phone.device, 1))
    for what, token in (("no token", ""), ("garbage", "abc"), ("a cut token", good[:-6])):
        for request in REQUESTS:
            reply = await node.post(request, body, token=token)
            expect(f"the status for {what} at {request}", reply.status, 401)
            expect(f"the fault for {what}", reply.problem()["fault"], "unauthenticated")


@wire("hello-refused")
async def _hello_refused(node: Node) -> None:
    """Another protocol, another app or a schema of the future is told so."""
    phone = RawPhone(node)
    expect("protocol 2", (await refusal(phone.hello(protocol=2))).fault, "protocol-version")
    expect("another app", (await refusal(phone.hello(app="another"))).fault, "wrong-app")
    ahead = await refusal(phone.hello(schema_version=999))
    expect("schema version 999", ahead.fault, "schema-ahead")


@wire("unknown-device")
async def _unknown_device(node: Node) -> None:
    """A number that was given to nobody, or to another person, leads to a new hello."""
    ann, ben = await RawPhone.greeted(node), await RawPhone.greeted(node, person=BEN)
    ben.device = ann.device
    expect("another person's", (await refusal(ben.push(ben.insert("x")))).fault, "unknown-device")
    ben.device = 4_000_000_000
    expect("nobody's", (await refusal(ben.push(ben.insert("x")))).fault, "unknown-device")


@wire("limits")
async def _limits(node: Node) -> None:
    """Every limit of a message is held, and what is within is taken."""
    phone, row = await RawPhone.greeted(node), node.new_id()
    token = await phone.token()
    too_many = phone.to_push([{}] * (limits.MUTATIONS_PER_PUSH_MAX + 1))
    expect_fault(
        "5,001 mutations", await node.post("push", encode(too_many), token=token), "malformed"
    )
    for rows_max in (0, limits.ROWS_PER_PAGE_MAX + 1):
        body = encode(Pull(phone.device, 1, rows_max=rows_max))
        expect_fault(
            f"rows_max {rows_max}", await node.post("pull", body, token=token), "malformed"
        )
    large = b"\x00" * (limits.MESSAGE_BYTES_MAX + 1)
    expect_fault("a body of 4 MiB and 1", await node.post("push", large, token=token), "too-large")
    change = msgspec.to_builtins(phone.change(row))
    nested: object = 1
    for _ in range(limits.NESTING_MAX + 1):
        nested = [nested]
    phone.counter = 4
    pushed = await phone.push(
        {"counter": 1, "h": 1, "changes": [change] * (limits.CHANGES_PER_MUTATION_MAX + 1)},
        {"counter": 2, "h": 1, "changes": [{**change, "fields": {f"f{n}": 1 for n in range(101)}}]},
        {"counter": 3, "h": 1, "changes": [{**change, "fields": {"title": nested}}]},
        {"counter": 4, "h": 1, "changes": [{**change, "fields": {"title": "x" * 70_000}}]},
    )
    expect("outcomes", outcomes(pushed), dict.fromkeys(range(1, 5), "quarantined"))
    rows = [node.new_id() for _ in range(limits.CHANGES_PER_MUTATION_MAX)]
    full = phone.mutation(*(phone.change(each, "insert", title="a") for each in rows))
    expect("1,000 changes", outcomes(await phone.push(full)), {5: "merged"})


@wire("numbers")
async def _numbers(node: Node) -> None:
    """Integers have 53 bits and no text holds half a character."""
    phone = await RawPhone.greeted(node)
    token, media = await phone.token(), Media.JSON.value
    for what, value in (("2^53", 2**53), ("-1", -1), ("1.5", 1.5), ("true", True), ("text", "1")):
        body = json.dumps(
            {"kind": "pull", "device": phone.device, "schema_version": 1, "wait_for": value}
        )
        reply = await node.post("pull", body.encode(), token=token, media=media)
        expect_fault(f"wait_for {what}", reply, "malformed")
