"""Request bodies: headers, pieces, compression and JSON, as the REST endpoints read them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Final, cast

import msgspec

from edge.controllers.body import read_body, read_json
from edge.dto.rows import NewRow, RowEdit
from edge.errors import EdgeError
from sync_protocol.compression import compress
from sync_protocol.errors import ProtocolError
from sync_protocol.media import Encoding
from tests.fuzz.tape import Tape
from tests.fuzz.target import Target
from tests.fuzz.targets.messages import require_answer

BYTES_MAX: Final = 1_024
PIECES_MAX: Final = 8
HEADER_BYTES_MAX: Final = 6_000
KINDS: Final[tuple[Any, ...]] = (NewRow, RowEdit)
TYPES: Final = (
    "application/json", "application/json; charset=utf-8", "application/json;charset=latin-1",
    "application/msgpack", None, "text/plain", "", ";",
)  # fmt: skip
ENCODINGS: Final = (None, "identity", "zstd", "gzip", " GZIP ", "br", "")
LENGTHS: Final = (None, "0", "10", "1024", "1025", "-1", "x", "٣", "²", "9" * 5_000)


class Request:
    """As much of a request as reading its body needs."""

    def __init__(self, headers: dict[str, str | None], pieces: list[Any]) -> None:
        self.headers = {name: value for name, value in headers.items() if value is not None}
        self._pieces = pieces

    async def receive(self) -> Any:
        """Return the next piece; after the last one the link is gone."""
        return self._pieces.pop(0) if self._pieces else {"type": "http.disconnect"}


def run(content: bytes) -> None:
    """A tape: three headers, the number of pieces, and the body.

    Invariant: a body is refused with an error that can be answered, or is within its bound and what
    was sent; JSON of a REST endpoint is refused likewise, or is of the kind asked for.
    Errors: ProtocolError.
    """
    tape = Tape(content)
    headers = {
        "content-type": tape.pick(TYPES),
        "content-encoding": tape.pick(ENCODINGS),
        "content-length": tape.pick(LENGTHS),
    }
    kind, count, is_cut = tape.pick(KINDS), tape.byte() % PIECES_MAX + 1, tape.byte() == 1
    body = tape.take(len(content))
    size = len(body) // count + 1
    pieces = [
        {"type": "http.request", "body": body[start : start + size], "more_body": True}
        for start in range(0, count * size, size)
    ]
    pieces[-1]["more_body"] = is_cut
    asyncio.run(_read(headers, pieces, kind, body))


async def _read(
    headers: dict[str, str | None], pieces: list[Any], kind: type[Any], sent: bytes
) -> None:
    try:
        body = await read_body(cast("Any", Request(headers, [*pieces])), bytes_max=BYTES_MAX)
        assert len(body) <= BYTES_MAX
        assert headers["content-encoding"] not in {None, "identity"} or body == sent
    except (ProtocolError, EdgeError) as error:
        _require_answer(error)
    try:
        read = await read_json(cast("Any", Request(headers, pieces)), kind, bytes_max=BYTES_MAX)
        assert type(read) is kind
    except (ProtocolError, EdgeError) as error:
        _require_answer(error)


def _require_answer(error: ProtocolError | EdgeError) -> None:
    assert isinstance(error, ProtocolError)
    require_answer(error)


def seeds() -> Iterator[bytes]:
    """Bodies in each encoding, whole and in pieces, and headers that lie."""
    whole = msgspec.json.encode({"space": "home", "fields": {"name": "Kjerag"}})
    for place, encoding in ((1, Encoding.IDENTITY), (2, Encoding.ZSTD), (3, Encoding.GZIP)):
        for count in (0, 3):
            yield bytes([0, place, 0, 0, count, 0]) + compress(whole, encoding)
    for length in range(len(LENGTHS)):
        yield bytes([0, 0, length, 0, 0, 0]) + whole
    for kind in range(len(TYPES)):
        yield bytes([kind, 0, 0, 1, 0, 1]) + whole
    yield bytes([0, 0, 0, 0, 0, 0]) + b'{"fields":' + b"[" * 900 + b"]" * 100 + b"}"


TARGETS = (Target("bodies", run, seeds, bytes_max=1_400, is_tree=True, prefix_bytes=6),)
