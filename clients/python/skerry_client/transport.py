"""The HTTP link: each message is one POST, its answer the next message received."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import httpx
import msgspec

from skerry_client.link import LinkLost
from skerry_client.tracing import traced
from sync_protocol import limits
from sync_protocol.codec import compress, decode_server, decompress, encode, encoding_of, media_of
from sync_protocol.faults import FaultKind
from sync_protocol.media import Encoding, Media
from sync_protocol.messages.fault import Fault, Request
from sync_protocol.messages.hello import Hello
from sync_protocol.messages.pull import Pull
from sync_protocol.messages.push import Push

if TYPE_CHECKING:
    from collections.abc import Mapping

    from skerry_client.tracing import Traceparent
    from sync_protocol.messages.union import ClientMessage, ServerMessage

COMPRESSED_FROM_BYTES: Final = 1_024
"""Below it a body fits into one packet anyway."""
WRITE_SECONDS_MAX: Final = 0.05
"""Enough to write to an open connection; one that must be opened first holds nothing up."""
TIMEOUT_SECONDS: Final = 30.0
"""A phone that has heard nothing for so long had better ask again."""
_BY_STATUS: Final = {
    401: FaultKind.UNAUTHENTICATED,
    403: FaultKind.FORBIDDEN,
    413: FaultKind.TOO_LARGE,
    429: FaultKind.RATE_LIMITED,
    503: FaultKind.UNAVAILABLE,
}
"""What a status means when whoever answered (a proxy) does not speak the protocol."""


class HttpLink:
    """Messages over one HTTP client; a push and a pull may be under way at once."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        url: str,
        token: str,
        *,
        traceparent: Traceparent | None = None,
    ) -> None:
        self._client = client
        self._traceparent = traceparent
        self._url = url.rstrip("/")
        self._headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": Media.MSGPACK.value,
            "Accept": Media.MSGPACK.value,
            "Accept-Encoding": "zstd, gzip",
        }
        self._answers: asyncio.Queue[ServerMessage | Exception] = asyncio.Queue()
        self._requests: set[asyncio.Task[None]] = set()

    async def send(self, message: ClientMessage) -> None:
        """Put the request on the wire; its answer, or its failure, will be received.

        Waiting until it is written lets the server work while the caller does: a busy thread of
        this process would delay each step of the sending.
        """
        sent = asyncio.Event()
        task = asyncio.create_task(self._ask(message, sent))
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)
        # Not wait_for: in Python 3.11 it loses a cancellation that comes as the wait ends, and then
        # closing the phone would wait for ever for a sync that goes on.
        with suppress(TimeoutError):
            async with asyncio.timeout(WRITE_SECONDS_MAX):
                await sent.wait()

    async def receive(self) -> ServerMessage:
        """Wait for the next answer."""
        answer = await self._answers.get()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None:
        """Give up the requests under way; the client itself belongs to the caller."""
        for task in self._requests:
            task.cancel()
        await asyncio.gather(*self._requests, return_exceptions=True)

    async def _ask(self, message: ClientMessage, sent: asyncio.Event) -> None:
        try:
            answer: ServerMessage | Exception = await self._answer(message, sent)
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as problem:
            answer = LinkLost(f"{type(problem).__name__}: {problem}")
        except Exception as problem:  # noqa: BLE001  (whoever receives it must not wait for ever)
            answer = problem
        finally:
            sent.set()
        self._answers.put_nowait(answer)

    async def _answer(self, message: ClientMessage, sent: asyncio.Event) -> ServerMessage:
        request = request_of(message)
        body = encode(message)
        headers = traced(self._headers, self._traceparent)
        if len(body) >= COMPRESSED_FROM_BYTES:
            body = compress(body, Encoding.ZSTD)
            headers = {**headers, "Content-Encoding": Encoding.ZSTD.value}
        address = f"{self._url}/v1/sync/{request}"
        async with self._client.stream(
            "POST", address, content=body, headers=headers,
            extensions={"trace": partial(_note_sent, sent)},
        ) as response:  # fmt: skip
            content = await _bounded(response)
        kind = response.headers.get("content-type", "")
        if kind.startswith("application/problem+json") or not response.is_success:
            return fault_of(response.status_code, content, request, headers=response.headers)
        answer = decode_server(content, media_of(kind or None))
        if isinstance(answer, Fault) and answer.answers is None:
            return msgspec.structs.replace(answer, answers=request)
        return answer


def request_of(message: ClientMessage) -> Request:
    """Return the kind of a request, which is also the last part of its path."""
    if isinstance(message, Hello):
        return "hello"
    if isinstance(message, Push):
        return "push"
    return "pull" if isinstance(message, Pull) else "repair"


def fault_of(
    status: int, content: bytes, request: Request | None, *, headers: Mapping[str, str]
) -> Fault:
    """Read a failed answer as a fault: a protocol fault, a problem document (RFC 9457), or bare.

    Raises LinkLost for what nobody who knows the protocol would say.
    """
    if headers.get("content-type", "").startswith(Media.MSGPACK.value):
        answer = decode_server(content)
        if isinstance(answer, Fault):
            return msgspec.structs.replace(answer, answers=answer.answers or request)
        raise LinkLost(f"status {status} with a {type(answer).__name__}")
    problem = _problem(content)
    retry_after_ms = _integer(problem.get("retry_after_ms"))
    if retry_after_ms is None and headers.get("retry-after", "").isdecimal():
        retry_after_ms = int(headers["retry-after"]) * 1_000
    try:
        kind = FaultKind(str(problem["fault"])) if "fault" in problem else _BY_STATUS[status]
    except (KeyError, ValueError):
        raise LinkLost(f"status {status}") from None
    return Fault(
        fault=kind,
        message=str(problem.get("detail") or problem.get("title") or f"status {status}"),
        retry_after_ms=retry_after_ms,
        answers=request,
        merged_through=_integer(problem.get("merged_through")),
        database=str(problem.get("database", "")),
    )


async def _note_sent(sent: asyncio.Event, step: str, _info: object) -> None:
    """Hear from httpcore how far a request has come, whatever the version of HTTP."""
    if step.endswith(".send_request_body.complete"):
        sent.set()


async def _bounded(response: httpx.Response) -> bytes:
    """Read and decompress a body, never more of it than an answer may have."""
    chunks: list[bytes] = []
    size_bytes = 0
    async for chunk in response.aiter_raw():
        size_bytes += len(chunk)
        if size_bytes > limits.ANSWER_BYTES_MAX:
            raise LinkLost("the answer is too large")
        chunks.append(chunk)
    encoding = encoding_of(response.headers.get("content-encoding"))
    return decompress(b"".join(chunks), encoding, limits.ANSWER_BYTES_MAX)


def _problem(content: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return {}


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
