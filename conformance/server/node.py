"""The server under test: its address, its people, and requests to it as raw messages."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import httpx

from conformance.case import Failed
from conformance.forms import decoded
from conformance.server.people import People
from core.clock import saturated
from sync_protocol import limits
from sync_protocol.codec import decompress, encoding_of, media_of
from sync_protocol.media import Media
from sync_protocol.messages.union import ServerMessage

ANSWER_SECONDS_MAX: Final = 20.0
"""A server that takes longer hangs; a replica waits for seconds at most."""
ANN: Final = "conformance-ann"
BEN: Final = "conformance-ben"


class Refused(Exception):
    """A request was answered with a fault."""

    def __init__(self, status: int, fault: str, document: Mapping[str, Any]) -> None:
        super().__init__(f"status {status}, fault {fault!r}: {document.get('detail', '')}")
        self.status = status
        self.fault = fault
        self.document = document


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer, decompressed."""

    status: int
    content_type: str
    body: bytes

    def message(self) -> ServerMessage:
        """Return the message inside; raise Refused for a fault, Failed for anything else."""
        if self.status != 200:
            document = self.problem()
            raise Refused(self.status, str(document["fault"]), document)
        return decoded(self.body, media_of(self.content_type), side="server")  # pyright: ignore[reportReturnType]  (a server's)

    def problem(self) -> dict[str, Any]:
        """Return the problem document inside, which names a fault."""
        document = None
        if self.content_type.startswith("application/problem+json"):
            document = json.loads(self.body)
        if not isinstance(document, dict) or "fault" not in document:
            raise Failed(
                "an answer that is no success",
                expected="a problem document with a fault",
                got=f"status {self.status}, {self.content_type}, {self.body[:200]!r}",
            )
        return document


class Node:
    """One server, its two spaces and its people; open it with `async with`."""

    def __init__(self, url: str, people: People) -> None:
        self.url = url.rstrip("/")
        self.people = people
        self.run = secrets.token_hex(4)
        """Names what this run writes, so that it may be repeated on one server."""
        own = f"conformance-{self.run}" if people.can_manage else "conformance"
        self.space, self.other_space = f"{own}-a", f"{own}-b"
        self._client = httpx.AsyncClient(timeout=ANSWER_SECONDS_MAX, trust_env=False)
        self._ids = 0

    async def __aenter__(self) -> Self:
        """Let both people into the one space, and Ann alone into the other."""
        if self.people.can_manage:
            await asyncio.gather(
                self.people.set_member(self.space, ANN, "member"),
                self.people.set_member(self.other_space, ANN, "member"),
            )
            await self.people.set_member(self.space, BEN, "member")
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._client.aclose()

    def new_id(self, kind: str = "row") -> str:
        """Return an id that nobody has used."""
        self._ids += 1
        return f"{kind}-{self.run}-{self._ids}"

    @staticmethod
    def clock() -> int:
        """Return what a right clock shows."""
        return saturated(time.time_ns() // 1_000_000)

    async def post(
        self,
        request: str,
        body: bytes,
        *,
        token: str,
        media: str | None = Media.MSGPACK.value,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send a body as it is and return the answer; `media` None sends no Content-Type."""
        sent = {"accept-encoding": "identity", **(headers or {})}
        if token:
            sent["authorization"] = f"Bearer {token}"
        if media is not None:
            sent["content-type"] = media
        address = f"{self.url}/v1/sync/{request}"
        async with self._client.stream("POST", address, content=body, headers=sent) as answer:
            raw = b"".join([chunk async for chunk in answer.aiter_raw()])
        encoding = encoding_of(answer.headers.get("content-encoding"))
        content = decompress(raw, encoding, limits.ANSWER_BYTES_MAX)
        return Reply(answer.status_code, answer.headers.get("content-type", ""), content)


async def refusal(asked: Awaitable[object]) -> Refused:
    """Return the fault that a request is answered with; raise Failed when it is not."""
    try:
        answer = await asked
    except Refused as refused:
        return refused
    raise Failed("the answer", expected="a fault", got=answer)
