"""Canonical rows, rows of a space, and the digests that are made of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from sync_protocol import digest, limits
from sync_protocol.errors import MalformedMessage
from sync_protocol.media import Media
from sync_protocol.rows import Row, decode_row, decode_row_json, encode_row
from sync_protocol.space_rows import (
    decode_space_rows,
    encode_space_rows,
    space_rows_from_json,
    space_rows_to_json,
)
from tests.fuzz.plain import require_plain
from tests.fuzz.target import Target
from tests.fuzz.targets.messages import VECTORS, require_answer
from tests.sync_protocol.samples import DIGEST, space_rows

DECODE: tuple[Callable[[bytes], Row], ...] = (decode_row, decode_row_json)


def run_row(row: bytes) -> None:
    """One row, as MessagePack and as JSON.

    Invariant: what is accepted is plain, has one canonical form that reads and writes itself, with
    sorted keys at every level, and is the same row when it has travelled as JSON.
    Errors: MalformedMessage.
    """
    for decode in DECODE:
        try:
            read = decode(row)
        except MalformedMessage as error:
            require_answer(error)
            continue
        row_id, alive, fields = read
        require_plain([row_id, alive, fields])
        canonical = encode_row(row_id, alive, fields)
        again = decode_row(canonical)
        assert again == read
        assert encode_row(*again) == canonical
        _require_sorted(msgspec.msgpack.decode(canonical))
        travelled = decode_row_json(msgspec.json.encode(read))
        assert encode_row(*travelled) == canonical
        assert 0 <= digest.bucket_of(row_id) < limits.BUCKETS


def _require_sorted(root: Any) -> None:
    pending = [root]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            keys = [key.encode() for key in value]
            assert keys == sorted(keys)
            pending += value.values()
        elif isinstance(value, list):
            pending += value


def run_space(raw: bytes) -> None:
    """Rows of one space, as MessagePack and as JSON.

    Invariant: columns have one length; what can be opened is the same after a journey as JSON, and
    its rows are canonical then.
    Errors: MalformedMessage.
    """
    for media in Media:
        try:
            held = decode_space_rows(raw, media)
            for rows in held.collections.values():
                assert len(rows.rows) == len(rows.sequences)
                assert len(rows.hashes) in {0, len(rows.rows)}
            packed = raw if media is Media.MSGPACK else space_rows_from_json(raw)
            opened = space_rows_to_json(packed)
        except MalformedMessage as error:
            require_answer(error)
            continue
        canonical = space_rows_from_json(opened)
        assert space_rows_from_json(space_rows_to_json(canonical)) == canonical
        again = decode_space_rows(canonical)
        assert bytes(encode_space_rows(again.space, again.collections)) == bytes(canonical)
        for rows in again.collections.values():
            for row in rows.rows:
                assert encode_row(*decode_row(row)) == bytes(row)


def run_digest(content: bytes) -> None:
    """Any rows, cut out of the bytes, in and out of a sum.

    Invariant: the order of additions does not count, a removal undoes an addition, a sum that was
    written is read as itself, and a digest of another length is refused.
    Errors: MalformedMessage.
    """
    size = content[0] % 32 + 1 if content else 1
    rows = [content[start : start + size] for start in range(0, min(len(content), 2_000), size)]
    forwards, backwards = digest.DigestSum(), digest.DigestSum()
    for row in rows:
        forwards.add(row)
    for row in reversed(rows):
        backwards.add(row)
    assert bytes(forwards) == bytes(backwards)
    kept = digest.DigestSum.of(bytes(forwards))
    total = digest.to_bytes(sum(digest.row_digest(row) for row in rows))
    assert bytes(kept) == total
    for row in rows:
        kept.remove(row)
    assert bytes(kept) == digest.ZERO
    assert digest.to_bytes(-digest.from_bytes(total)) == digest.to_bytes(
        digest.MODULUS - forwards.total
    )
    try:
        assert digest.to_bytes(digest.from_bytes(content)) == content
        assert len(content) == limits.DIGEST_BYTES
    except MalformedMessage:
        assert len(content) != limits.DIGEST_BYTES


def _vectors() -> list[dict[str, Any]]:
    return json.loads((VECTORS / "digest.json").read_text("utf-8"))["rows"]


def row_seeds() -> Iterator[bytes]:
    """The vectors' rows in both media types, and a state of every kind."""
    for each in _vectors():
        yield bytes.fromhex(each["canonical"])
        yield json.dumps(each["row"]).encode()
    for path in sorted(VECTORS.glob("merge_*.json")):
        state = json.loads(path.read_text("utf-8"))["folded"][-1]["state"]
        yield encode_row("r", (1, 2, True), {path.stem[:40]: state})


def space_seeds() -> Iterator[bytes]:
    """The sample of the message tests, and the vectors' rows as one space."""
    yield bytes(space_rows())
    yield bytes(space_rows_to_json(space_rows()))
    for hashes in ([], [DIGEST]):
        for each in _vectors():
            rows = {"sequences": [3], "rows": [each["row"]]} | (
                {"hashes": hashes} if hashes else {}
            )
            yield msgspec.msgpack.encode({"space": "s", "collections": {"c": rows}})
            yield msgspec.json.encode({"space": "s", "collections": {"c": rows}})


def digest_seeds() -> Iterator[bytes]:
    """Digests, and rows."""
    yield digest.ZERO
    for each in _vectors():
        yield bytes.fromhex(each["space_digest_so_far"])
        yield bytes.fromhex(each["canonical"])


TARGETS = (
    Target("rows", run_row, row_seeds, bytes_max=4_096, is_tree=True),
    Target("space_rows", run_space, space_seeds, bytes_max=4_096, is_tree=True),
    Target("digests", run_digest, digest_seeds, bytes_max=512),
)
