"""Requests of the identity API, and what their answers and failures mean to the phone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import httpx
import msgspec

from skerry_client.errors import AccountRefused, NoAnswer, SignInRefused, StepUpNeeded
from sync_protocol.faults import FaultKind
from sync_protocol.session.reactions import REACTIONS, Reaction

if TYPE_CHECKING:
    from collections.abc import Callable

ANSWER_BYTES_MAX: Final = 256 * 1024
"""A hundred sessions, the longest answer, are a fifth of it."""
TIMEOUT_SECONDS: Final = 30.0
"""As long as the sync waits for an answer."""
PROBLEM: Final = "application/problem+json"
INVALID_GRANT_STATUS: Final = 400
_UNIX_S_MAX: Final = 2**53 - 1
A = TypeVar("A")


class ClockApart(Exception):
    """The server's clock says `now_unix_s`, too far from the time of a proof."""

    def __init__(self, now_unix_s: int) -> None:
        super().__init__(now_unix_s)
        self.now_unix_s = now_unix_s


class IdentityApi:
    """One server's identity API.

    Raises NoAnswer for whatever may pass, SignInRefused for a grant that is worth nothing,
    StepUpNeeded, AccountRefused for every other refusal, ClockApart.
    """

    def __init__(self, url: str, *, http_transport: httpx.AsyncBaseTransport | None) -> None:
        self._url = url.rstrip("/")
        self._http_transport = http_transport
        self._client: httpx.AsyncClient | None = None

    async def ask(
        self, method: str, path: str, body: object = None, *, answer: type[A], token: str = ""
    ) -> A:
        """Send a request and read its answer as `answer`."""
        content = await self._send(method, path, body, token)
        try:
            return msgspec.json.decode(content, type=answer)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as problem:
            raise NoAnswer(reason=f"garbage: {problem}") from problem

    async def tell(self, method: str, path: str, *, token: str) -> None:
        """Send a request whose answer is empty."""
        await self._send(method, path, None, token)

    async def close(self) -> None:
        """Let go of the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _send(self, method: str, path: str, body: object, token: str) -> bytes:
        headers = {"Accept": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        content = b""
        if body is not None:
            content = msgspec.json.encode(body)
            headers["Content-Type"] = "application/json"
        try:
            async with self._http().stream(
                method, self._url + path, content=content, headers=headers
            ) as response:
                received = await _bounded(response)
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as problem:
            raise NoAnswer(reason=f"{type(problem).__name__}: {problem}") from problem
        if response.is_success:
            return received
        raise _failure(response, received)

    def _http(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = httpx.AsyncClient(
                transport=self._http_transport, timeout=TIMEOUT_SECONDS, http2=False
            )
        return self._client


async def until_clocks_agree(attempt: Callable[[], Any], adopt: Callable[[int], None]) -> Any:  # noqa: ANN401  (whatever the attempt returns)
    """Make a request that carries a proof; when the clocks are apart, once more at their time."""
    try:
        return await attempt()
    except ClockApart as apart:
        adopt(apart.now_unix_s)
    try:
        return await attempt()
    except ClockApart as apart:
        raise NoAnswer(reason="the clocks are apart") from apart


async def _bounded(response: httpx.Response) -> bytes:
    received = bytearray()
    async for chunk in response.aiter_bytes():
        received += chunk
        if len(received) > ANSWER_BYTES_MAX:
            raise NoAnswer(reason="the answer is too large")
    return bytes(received)


def _failure(response: httpx.Response, content: bytes) -> Exception:
    """Read a problem document (RFC 9457); what is none was not said by a Skerry node."""
    status = response.status_code
    bare = NoAnswer(reason=f"status {status}")
    if not response.headers.get("content-type", "").startswith(PROBLEM):
        return bare
    try:
        problem = msgspec.json.decode(content, type=dict[str, Any])
        fault = FaultKind(problem["fault"])
    except (msgspec.MsgspecError, UnicodeError, RecursionError, KeyError, ValueError):
        return bare
    message = str(problem.get("detail") or problem.get("title") or f"status {status}")
    if fault is FaultKind.INVALID_GRANT:
        return SignInRefused(reason=message) if status == INVALID_GRANT_STATUS else bare
    if fault is FaultKind.STEP_UP_NEEDED:
        return StepUpNeeded(reason=message)
    if fault is FaultKind.CLOCK_APART:
        now_unix_s = problem.get("now_unix_s")
        if type(now_unix_s) is int and 0 <= now_unix_s <= _UNIX_S_MAX:
            return ClockApart(now_unix_s)
        return bare
    if REACTIONS[fault] is Reaction.RETRY:
        delay_ms = problem.get("retry_after_ms")
        return NoAnswer(reason=message, retry_after_ms=delay_ms if type(delay_ms) is int else None)
    return AccountRefused(fault=fault, reason=message)
