"""The way from a reading worker to the writing one: HTTP over a unix socket in the data folder."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

import httpx
import msgspec

from edge.errors import Unavailable
from edge.problems import Problem, ProblemError
from sync_protocol.codec import Media, decode_server, encode
from sync_protocol.faults import FaultKind
from sync_protocol.messages.pushed import Pushed
from sync_protocol.messages.welcome import Welcome

if TYPE_CHECKING:
    from pathlib import Path

    from edge.services.session import Principal
    from sync_protocol.messages.hello import Hello
    from sync_protocol.messages.push import Push
    from sync_protocol.messages.union import ServerMessage

CONNECTIONS_MAX: Final = 64
FORWARD_SECONDS_MAX: Final = 60
"""A push waits for its commit; beyond a minute the device is better off asking again."""
READY_SECONDS_MAX: Final = 600
"""A migration may take minutes; the supervisor starts a reader again after that."""
READY_POLL_S: Final = 0.05


class WriterLink:
    """The writing worker, over the unix socket in the data folder; an Upstream."""

    def __init__(self, path: Path) -> None:
        self._client = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(
                uds=str(path), limits=httpx.Limits(max_connections=CONNECTIONS_MAX)
            ),
            timeout=FORWARD_SECONDS_MAX,
        )

    async def request(
        self, method: str, target: str, headers: list[tuple[bytes, bytes]], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        """Return the writer's status, headers and still compressed body; raise Unavailable."""
        address = httpx.URL(scheme="http", host="writer", raw_path=target.encode("ascii"))
        try:
            async with self._client.stream(
                method, address, headers=headers, content=body
            ) as answer:
                content = b"".join([chunk async for chunk in answer.aiter_raw()])
        except httpx.HTTPError:
            raise Unavailable("The writing process is away.") from None
        return answer.status_code, dict(answer.headers), content

    async def hello(self, principal: Principal, token: str, hello: Hello) -> Welcome:
        """Introduce a device at the writer, which verifies the token again."""
        welcome = await self.message(token, hello)
        assert isinstance(welcome, Welcome), "the writer answers hello with welcome"
        return welcome

    async def push(self, principal: Principal, token: str, push: Push) -> Pushed:
        """Hand a push to the writer, which verifies the token again."""
        pushed = await self.message(token, push)
        assert isinstance(pushed, Pushed), "the writer answers push with pushed"
        return pushed

    async def message(self, token: str, message: Hello | Push) -> ServerMessage:
        """Send one message of a stream; a problem comes back as the fault it names."""
        name = type(message).__name__.lower()
        headers = [
            (b"authorization", f"Bearer {token}".encode()),
            (b"content-type", Media.MSGPACK.encode()),
        ]
        path = f"/v1/sync/{name}"
        status, _, body = await self.request("POST", path, headers, encode(message))
        if status == 200:  # noqa: PLR2004  (OK)
            return decode_server(body)
        raise _told(body)

    async def wait_until_ready(self) -> None:
        """Wait for the writer to have opened, and migrated, every database; raise Unavailable."""
        deadline = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < deadline:
            try:
                status, _, _ = await self.request("GET", "/health/ready", [], b"")
            except Unavailable:
                status = 503
            if status == 200:  # noqa: PLR2004  (OK)
                return
            await asyncio.sleep(READY_POLL_S)
        raise Unavailable("The writing process does not become ready.")

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _told(body: bytes) -> ProblemError:
    """Turn the writer's problem document into the error it stands for."""
    try:
        document = msgspec.json.decode(body, type=dict[str, Any])
        known = {"type", "title", "status", "detail", "instance", "fault", "retry_after_ms"}
        return ProblemError(
            Problem(
                FaultKind(document["fault"]),
                str(document["detail"]),
                status=int(document["status"]),
                retry_after_ms=document.get("retry_after_ms"),
                extra={name: value for name, value in document.items() if name not in known},
            )
        )
    except (msgspec.MsgspecError, ValueError, KeyError, TypeError):
        raise Unavailable("The writing process answers nonsense.") from None
