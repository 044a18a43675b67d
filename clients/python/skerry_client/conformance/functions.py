"""The pure functions that golden vectors ask for, by the name of the request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from core.clock import HybridClock, effective, measured_skew, pack
from core.crdt.field import Write
from core.crdt.registry import SAMPLES
from core.row import merge_alive
from sync_protocol import codec, digest
from sync_protocol.errors import ProtocolError
from sync_protocol.faults import FaultKind
from sync_protocol.fingerprint import fingerprint_of
from sync_protocol.media import Media
from sync_protocol.messages.push import Push, WireMutation
from sync_protocol.mutations import Malformed, decode_mutations, payload_hash
from sync_protocol.rows import decode_row, encode_row
from sync_protocol.session.backoff import backoff_ms
from sync_protocol.session.reactions import ENDS_THE_STREAM, REACTIONS
from sync_protocol.space_rows import with_rows_from

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.crdt.field import Field
    from sync_protocol.messages.union import ClientMessage, ServerMessage

Json = Any
_MEDIA: Final = {"msgpack": Media.MSGPACK, "json": Media.JSON}


def _ticks(*, steps: list[dict[str, int]]) -> list[int]:
    clock = HybridClock()
    ticked: list[int] = []
    for step in steps:
        if "observe" in step:
            clock.observe(step["observe"])
        else:
            ticked.append(clock.tick(step["now_unix_ms"]))
    return ticked


def _encode_row(*, row: list[Json]) -> str:
    row_id, (h, n, is_alive), fields = row
    return encode_row(row_id, (h, n, is_alive), fields).hex()


def _decode_row(*, canonical: str) -> Json:
    return decode_row(bytes.fromhex(canonical))


def _row_digest(*, canonical: str) -> str:
    return digest.to_bytes(digest.row_digest(bytes.fromhex(canonical))).hex()


def _bucket(*, row: str) -> int:
    return digest.bucket_of(row)


def _space_digest(*, rows: list[dict[str, Json]]) -> str:
    total = digest.DigestSum()
    for row in rows:
        if row["alive"]:
            total.add(bytes.fromhex(row["canonical"]))
    return bytes(total).hex()


def _payload_hash(*, mutation: Json) -> str:
    return payload_hash(msgspec.convert(mutation, WireMutation)).hex()


def _fingerprint(*, declaration: dict[str, Json]) -> str:
    return fingerprint_of(declaration)


def _reaction(*, fault: str) -> Json:
    reaction = REACTIONS[FaultKind(fault)]
    return {"reaction": reaction, "ends_the_stream": reaction in ENDS_THE_STREAM}


def _field(kind: str, declared: Json) -> Field[Any]:
    field = SAMPLES[kind]()
    if field.describe() != declared:
        raise ValueError(f"a {kind} is declared otherwise here: {field.describe()}")
    return field


def _pairs(*, kind: str, declared: Json, pairs: list[list[Json]]) -> list[Json]:
    field = _field(kind, declared)
    return [field.merge(left, right) for left, right in pairs]


def _fold(*, kind: str, declared: Json, writes: list[dict[str, Json]]) -> list[Json]:
    field = _field(kind, declared)
    state = None
    folded: list[Json] = []
    for write in writes:
        at = Write(write["h"], write["n"], write["counter"])
        delta = field.delta(field.parse(write["payload"]), at)
        state = field.merge(state, delta)
        folded.append({"delta": delta, "state": state, "value": _shown(field.value(state))})
    return folded


def _shown(value: object) -> Json:
    """Return a value as JSON; sets are sorted."""
    return msgspec.json.decode(msgspec.json.encode(value, order="deterministic"))


def _alive(*, pairs: list[list[Json]]) -> list[Json]:
    return [merge_alive(tuple(left), tuple(right)) for left, right in pairs]


def _decode(*, media: str, side: str, body: str) -> Json:
    decode = codec.decode_client if side == "client" else codec.decode_server
    content = bytes.fromhex(body) if media == "msgpack" else body.encode()
    try:
        message = decode(content, _MEDIA[media])
    except ProtocolError as error:
        return {"fault": error.kind}
    return {"message": _in_json(message, _MEDIA[media])}


def _encode(*, media: str, side: str, message: Json) -> str:
    decode = codec.decode_client if side == "client" else codec.decode_server
    body = msgspec.json.encode(message)
    read = decode(body, Media.JSON)
    if media == "json":
        return codec.encode(read, Media.JSON).decode()
    if isinstance(read, Push):
        raws = [msgspec.msgpack.encode(msgspec.json.decode(raw)) for raw in read.mutations]
        read = msgspec.structs.replace(read, mutations=list(map(msgspec.Raw, raws)))
    elif side == "server":
        read = with_rows_from(cast("ServerMessage", read), Media.JSON)
    return codec.encode(read).hex()


def _in_json(message: ClientMessage | ServerMessage, media: Media) -> Json:
    if media is Media.MSGPACK and isinstance(message, Push):
        raws = [msgspec.json.encode(msgspec.msgpack.decode(raw)) for raw in message.mutations]
        message = msgspec.structs.replace(message, mutations=list(map(msgspec.Raw, raws)))
    elif media is Media.MSGPACK:
        message = codec.with_rows_in(cast("ServerMessage", message), Media.JSON)
    return msgspec.json.decode(codec.encode(message, Media.JSON))


def _decode_mutations(*, mutations: list[Json]) -> list[Json]:
    raws = [msgspec.Raw(msgspec.json.encode(mutation)) for mutation in mutations]
    push = Push(2, 0, 1, raws)
    return [
        {"is_malformed": isinstance(mutation, Malformed), "counter": mutation.counter}
        for mutation in decode_mutations(push, Media.JSON)
    ]


FUNCTIONS: Final[dict[str, Callable[..., object]]] = {
    "clock.pack": pack,
    "clock.ticks": _ticks,
    "clock.skew": measured_skew,
    "clock.effective": effective,
    "row.encode": _encode_row,
    "row.decode": _decode_row,
    "digest.row": _row_digest,
    "digest.bucket": _bucket,
    "digest.space": _space_digest,
    "hash.payload": _payload_hash,
    "fingerprint": _fingerprint,
    "fault.reaction": _reaction,
    "fault.backoff": backoff_ms,
    "merge.pairs": _pairs,
    "merge.fold": _fold,
    "merge.alive": _alive,
    "message.decode": _decode,
    "message.encode": _encode,
    "mutations.decode": _decode_mutations,
}
