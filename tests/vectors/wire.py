"""digest.json, transcripts.json and faults.json: what sync_protocol computes, written down."""

from typing import Any

import msgspec

from conformance.forms import in_json
from core.ids import DEVICE_NUMBER_MAX, INTEGER_MAX
from sync_protocol import codec, digest, limits
from sync_protocol.errors import ProtocolError
from sync_protocol.faults import FaultKind
from sync_protocol.media import Media
from sync_protocol.messages.cursor import Cursor
from sync_protocol.messages.fault import Fault
from sync_protocol.messages.hello import Hello
from sync_protocol.messages.page import Checkpoint, Gained, Page
from sync_protocol.messages.poke import Poke
from sync_protocol.messages.pull import Pull
from sync_protocol.messages.push import Push
from sync_protocol.messages.pushed import Pushed
from sync_protocol.messages.union import ClientMessage, ServerMessage
from sync_protocol.messages.welcome import Welcome
from sync_protocol.mutations import Malformed, decode_mutations, payload_hash
from sync_protocol.rows import encode_row
from sync_protocol.session.backoff import backoff_ms
from sync_protocol.session.reactions import ENDS_THE_STREAM, REACTIONS
from tests.sync_protocol.samples import (
    CANONICAL_ROW,
    CLIENT_SAMPLES,
    DATABASE,
    PROVISIONAL,
    RECEIPTS,
    SERVER_SAMPLES,
    H,
    mutation,
    push,
    space_rows,
)

FINGERPRINT = "0123456789abcdef"
ROWS: list[tuple[str, tuple[int, int, bool], dict[str, Any]]] = [
    ("row-1", (1, 2, True), {}),
    ("row-2", (H, 2, True), {"b": [H, 2, "x"], "a": [H, 2, None]}),
    ("row-2", (H + 1, 3, False), {"b": [H, 2, "x"]}),
    ("røw-é", (INTEGER_MAX, DEVICE_NUMBER_MAX, True), {"n": [0, -1, -32, -33, 127, 128, 65_536]}),
    ("01j0row", (5, 2, True), {"f": [1.0, -2.5, 1e300], "m": [{"é": 1, "z": {"b": [], "a": {}}}]}),
    ("long", (1, 2, True), {"t": ["x" * 40, "\U0001f600", True, False]}),
    ("block", (1, 2, True), {"t": ["x" * 111]}),
    ("blocks", (1, 2, True), {"t": ["x" * 300]}),
    ("wide", (1, 2, True), {f"f{n:02}": list(range(n)) for n in range(17)}),
]


def digests() -> dict[str, Any]:
    total = digest.DigestSum()
    rows: list[dict[str, Any]] = []
    for row_id, alive, fields in ROWS:
        encoded = encode_row(row_id, alive, fields)
        if alive[2]:
            total.add(encoded)
        rows.append(
            {
                "row": [row_id, alive, fields],
                "canonical": encoded.hex(),
                "digest": digest.to_bytes(digest.row_digest(encoded)).hex(),
                "bucket": digest.bucket_of(row_id),
                "space_digest_so_far": bytes(total).hex(),
            }
        )
    return {"buckets": limits.BUCKETS, "rows": rows}


def line(message: ClientMessage | ServerMessage) -> dict[str, Any]:
    return {
        "from": "client" if isinstance(message, ClientMessage) else "server",
        "json": in_json(message),
        "msgpack": codec.encode(message).hex(),
    }


def fleet_scenes(
    known: Hello, welcome: Welcome, last: Page, row_digest: bytes
) -> dict[str, list[ClientMessage | ServerMessage]]:
    """What is said through an edge, and after a take-over."""
    return {
        "stale": [
            Pull(2, 1, Cursor(DATABASE, 44), wait_for=46),
            Page(
                Cursor(DATABASE, 44),
                more=False,
                checkpoint=Checkpoint(44, {}),
                replicated=41,
                stale=True,
            ),
            Pull(2, 1, Cursor(DATABASE, 44), wait_for=46),
            msgspec.structs.replace(last, cursor=Cursor(DATABASE, 46), replicated=46),
        ],
        "retained": [
            push(mutation(1), mutation(2, "Preikestolen")),
            Pushed(2, 44, [(1, 2, 44)], replicated=41, database=DATABASE),
            msgspec.structs.replace(last, replicated=42),
            Poke(44, 44, replicated=44),
        ],
        "taken over": [
            known,
            msgspec.structs.replace(
                welcome, database="01j0takenover", resume="replay", merged_through=1, replicated=43
            ),
            push(mutation(2, "Preikestolen")),
            Pushed(2, 45, [(2, 2, 45)], replicated=43, database="01j0takenover"),
            Pull(2, 1, Cursor(DATABASE, 43), wait_for=45),
            msgspec.structs.replace(last, cursor=Cursor("01j0takenover", 45), replicated=43),
        ],
        "provisional": [
            msgspec.structs.replace(last, provisional=[PROVISIONAL]),
            SERVER_SAMPLES["provisional"],
            Poke(44, 45, spaces=[space_rows()], digests={"region-1": row_digest}, provisional=[]),
        ],
    }


def transcripts() -> dict[str, Any]:
    hello = Hello(1, "survey", 1, FINGERPRINT, "01j0installation", H)
    welcome = Welcome(1, 2, DATABASE, 41, 1, FINGERPRINT, H, "reset")
    known = msgspec.structs.replace(hello, counter=2, cursor=Cursor(DATABASE, 44))
    first = Page(
        Cursor(DATABASE, 40),
        more=True,
        gained=[Gained("region-1", "region", "surveyor")],
        spaces=[space_rows()],
        remaining=4,
    )
    row_digest = digest.to_bytes(digest.row_digest(CANONICAL_ROW))
    last = Page(
        Cursor(DATABASE, 44),
        more=False,
        merged_through=2,
        checkpoint=Checkpoint(44, {"region-1": row_digest}),
    )
    clone = Fault(
        FaultKind.CLONED_DEVICE,
        "Another phone has used this counter.",
        answers="push",
        merged_through=2,
    )
    unknown = Fault(FaultKind.CURSOR_UNKNOWN, "This cursor is not known.", answers="pull")
    scenes: dict[str, list[ClientMessage | ServerMessage]] = {
        "push": [
            hello,
            welcome,
            push(mutation(1), mutation(2, "Preikestolen")),
            Pushed(2, 44, [(1, 2, 44)], database=DATABASE),
        ],
        "outcomes": [
            push(*map(mutation, range(1, 7))),
            Pushed(5, 44, [(1, 3, 42)], RECEIPTS, database=DATABASE),
        ],
        "pull": [Pull(2, 1), first, Pull(2, 1, first.cursor), last],
        "poke": [
            Poke(44, 45, spaces=[space_rows()], digests={"region-1": row_digest}),
            Poke(45, 46, pull=True),
            Pull(2, 1, Cursor(DATABASE, 45), wait_for=46),
            msgspec.structs.replace(last, cursor=Cursor(DATABASE, 46)),
        ],
        **fleet_scenes(known, welcome, last, row_digest),
        "repair": [CLIENT_SAMPLES["repair"], SERVER_SAMPLES["repaired"]],
        "clone": [
            known,
            msgspec.structs.replace(welcome, resume="replay", merged_through=2),
            push(mutation(2, "typed on the other phone")),
            clone,
            msgspec.structs.replace(known, installation="01j0installation2", counter=1),
            msgspec.structs.replace(welcome, device=3, resume="replay"),
            msgspec.structs.replace(push(mutation(1, "typed on the other phone")), device=3),
            Pushed(1, 45, [(1, 1, 45)], database=DATABASE),
        ],
        "reset": [
            Pull(2, 1, Cursor("01j0anotherdatabase", 9_000)),
            unknown,
            Pull(2, 1),
            msgspec.structs.replace(last, reset=True, spaces=[space_rows()]),
        ],
    }
    return {
        "scenes": {name: [line(message) for message in scene] for name, scene in scenes.items()},
        "payload_hashes": [
            {"mutation": msgspec.to_builtins(each), "hash": payload_hash(each).hex()}
            for each in (mutation(1), mutation(2, "Preikestolen"), mutation(3, "røyk"))
        ],
    }


BAD_BODIES = {
    "not json": "{",
    "trailing bytes": '{"kind":"pull","device":2,"schema_version":1} 1',
    "unknown kind": '{"kind":"shout"}',
    "a server's message": '{"kind":"poke","since":1,"sequence":2}',
    "no kind": '{"device":2}',
    "unknown field": '{"kind":"pull","device":2,"schema_version":1,"x":1}',
    "missing field": '{"kind":"pull","device":2}',
    "not a number": '{"kind":"pull","device":NaN,"schema_version":1}',
    "over 53 bits": '{"kind":"pull","device":2,"schema_version":1,"wait_for":9007199254740992}',
    "lone surrogate": '{"kind":"hello","protocol":1,"app":"\\ud800"}',
    "nested": '{"kind":"push","mutations":' + "[" * 2_000 + "]" * 2_000 + "}",
}
BAD_MUTATIONS: list[Any] = [
    {"counter": 1, "h": 1, "changes": [{"collection": "c", "id": "r"}]},
    {"counter": 2, "h": 1, "changes": []},
    {"counter": 3, "h": -1, "changes": [{"collection": "c", "id": "r"}]},
    {"h": 1},
    "nothing",
    {"counter": 6, "h": 1, "changes": [{"collection": "c", "id": "r", "op": "upsert"}]},
    {"counter": 7, "h": 1, "changes": [{"collection": "c", "id": "r", "seen": 3}]},
]


def refused(body: str) -> str:
    try:
        codec.decode_client(body.encode(), Media.JSON)
    except ProtocolError as error:
        return error.kind
    raise AssertionError(body)


def faults() -> dict[str, Any]:
    sent = Push(2, H, 1, [msgspec.Raw(msgspec.json.encode(each)) for each in BAD_MUTATIONS])
    return {
        "reactions": {
            kind: {
                "reaction": REACTIONS[kind],
                "ends_the_stream": REACTIONS[kind] in ENDS_THE_STREAM,
            }
            for kind in FaultKind
        },
        "bodies": {
            name: {"json": body, "fault": refused(body)} for name, body in BAD_BODIES.items()
        },
        "mutations": [
            {"json": given, "is_malformed": isinstance(read, Malformed), "counter": read.counter}
            for given, read in zip(BAD_MUTATIONS, decode_mutations(sent, Media.JSON), strict=True)
        ],
        "backoff_ms": [
            {"attempt": attempt, "jitter": jitter, "delay_ms": backoff_ms(attempt, jitter)}
            for attempt in (0, 1, 5, 7, 30)
            for jitter in (0.0, 0.25, 1.0)
        ],
    }
