"""`python -m skerry_client.conformance`: answer requests, one JSON object a line, until the end."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, Final

import msgspec

from core.errors import CoreError
from skerry_client.conformance.functions import FUNCTIONS
from skerry_client.conformance.phones import Phones
from skerry_client.errors import ClientError
from sync_protocol.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Mapping

LINE_PROTOCOL: Final = 1
LINE_BYTES_MAX: Final = 64 * 1024 * 1024
CAPABILITIES: Final = (
    "clock",
    "rebase",
    "digest",
    "rows",
    "hash",
    "fingerprint",
    "faults",
    "merge",
    "msgpack",
    "json",
    "peer",
    "phone",
    "stream",
)


class _Unsupported(Exception):
    """The request is not one that this adapter knows."""


async def main() -> None:
    """Answer until standard input ends."""
    reader = asyncio.StreamReader(limit=LINE_BYTES_MAX)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    phones = Phones()
    try:
        while line := await reader.readline():
            request = msgspec.json.decode(line, type=dict[str, Any])
            sys.stdout.buffer.write(msgspec.json.encode(await _answer(request, phones)) + b"\n")
            sys.stdout.buffer.flush()
    finally:
        await phones.close_all()


async def _answer(request: Mapping[str, Any], phones: Phones) -> dict[str, Any]:
    number = request.get("id")
    try:
        return {"id": number, "result": await _result(request, phones)}
    except _Unsupported as problem:
        return {"id": number, "error": {"code": "unsupported", "message": str(problem)}}
    except (CoreError, ClientError, ProtocolError, LookupError, ValueError) as problem:
        message = f"{type(problem).__name__}: {problem}"
        return {"id": number, "error": {"code": "failed", "message": message}}


async def _result(request: Mapping[str, Any], phones: Phones) -> object:
    name = str(request.get("do"))
    arguments = {key: value for key, value in request.items() if key not in {"id", "do"}}
    if name == "start":
        return {"protocol": LINE_PROTOCOL, "name": "skerry-python", "capabilities": CAPABILITIES}
    if name in FUNCTIONS:
        return FUNCTIONS[name](**arguments)
    act = getattr(phones, name.removeprefix("phone."), None) if name.startswith("phone.") else None
    if act is None:
        raise _Unsupported(name)
    return await act(**arguments)


if __name__ == "__main__":
    asyncio.run(main())
