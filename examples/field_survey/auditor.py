"""Reads what the node itself holds, digests and conflict log, over its public endpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
from app import app

from sync_protocol.codec import decode_server, encode
from sync_protocol.fingerprint import fingerprint
from sync_protocol.media import Media
from sync_protocol.messages.hello import Hello
from sync_protocol.messages.page import Page
from sync_protocol.messages.pull import Pull
from sync_protocol.messages.welcome import Welcome
from sync_protocol.version import PROTOCOL_VERSION

if TYPE_CHECKING:
    from sync_protocol.messages.cursor import Cursor
    from sync_protocol.messages.union import ServerMessage

PAGES_MAX = 1_000


async def node_digests(url: str, token: str) -> dict[str, str]:
    """Say hello, read every page from the beginning, return the digests of the checkpoint."""
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": Media.MSGPACK.value,
        "Accept": Media.MSGPACK.value,
    }
    async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False) as http:
        hello = Hello(
            protocol=PROTOCOL_VERSION,
            app=app.name,
            schema_version=app.version,
            fingerprint=fingerprint(app),
            installation="auditor",
            clock=0,
        )
        welcome = await _ask(http, "hello", encode(hello))
        assert isinstance(welcome, Welcome)
        cursor: Cursor | None = None
        for _ in range(PAGES_MAX):
            pull = Pull(device=welcome.device, schema_version=app.version, cursor=cursor)
            page = await _ask(http, "pull", encode(pull))
            assert isinstance(page, Page)
            if page.checkpoint is not None:
                return {space: digest.hex() for space, digest in page.checkpoint.digests.items()}
            cursor = page.cursor
    raise RuntimeError("the node has more pages than it should")


async def node_conflicts(url: str, token: str) -> list[dict[str, Any]]:
    """Return the conflict log: which write lost to which one that it had not seen."""
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False) as http:
        answer = await http.get("/v1/conflicts", params={"limit": 100})
        answer.raise_for_status()
        return answer.json()["conflicts"]


async def _ask(http: httpx.AsyncClient, request: str, body: bytes) -> ServerMessage:
    answer = await http.post(f"/v1/sync/{request}", content=body)
    answer.raise_for_status()
    return decode_server(answer.content)
