"""What the fleet's demonstration does to nodes, and reads from them: outages, files, answers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import time
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import httpx

from edge.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from edge.workers.dev_node import DevNode

TENANT = "main"
ANSWER_SECONDS_MAX = 15.0
BUSY_SECONDS_MAX = 5.0
ROWS_PER_PAGE_MAX = 1_000
DIGESTS = (
    "SELECT space, collection, bucket, hex(digest), rows FROM sk_digest "
    "ORDER BY space, collection, bucket"
)

DigestRow = tuple[str, str, int, str, int]


@contextmanager
def cut_off(node: DevNode) -> Generator[None]:
    """Stop a node and its sqld where they stand: they neither answer nor close a connection."""
    pids = [pid for pid in (node.node_pid(), node.sqld_pid()) if pid is not None]
    try:
        for pid in pids:
            os.killpg(pid, signal.SIGSTOP)  # each child leads a process group of its own
        yield
    finally:
        # A stopped process would not hear that it is to end.
        for pid in pids:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGCONT)


async def set_members(
    url: str, admin_token: str, roles: dict[str, str], *, spaces: Sequence[str]
) -> None:
    """Give each person a role in each space."""
    async with _client(url, admin_token) as http:
        for space in spaces:
            for person, role in roles.items():
                path = f"/v1/spaces/{space}/members/{person}"
                (await http.put(path, json={"role": role})).raise_for_status()


async def read_row(url: str, token: str, row: str) -> dict[str, Any]:
    """Read one airfield as a script would: GET /v1/rows/airfield/{id}."""
    async with _client(url, token) as http:
        answer = await http.get(f"/v1/rows/airfield/{row}")
        answer.raise_for_status()
        return answer.json()["values"]


async def list_rows(url: str, token: str, **query: object) -> list[dict[str, Any]]:
    """List airfields as a script would: GET /v1/rows/airfield?country=NO."""
    given: dict[str, Any] = {"limit": ROWS_PER_PAGE_MAX, **query}
    async with _client(url, token) as http:
        answer = await http.get("/v1/rows/airfield", params=given)
        answer.raise_for_status()
        return answer.json()["rows"]


async def healthy_status(node: DevNode, *, seconds: float) -> dict[str, Any]:
    """Return what `skerry status` tells once it finds nothing wrong; else raise its complaint."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return json.loads(await asyncio.to_thread(node.run, "status", "--json"))
        except Unavailable:
            if time.monotonic() > deadline:
                raise


def digest_rows(node: DevNode, *, leads: bool) -> list[DigestRow]:
    """Read the digest of every bucket from a node's own file, behind the node's back."""
    served = node.data / "sqld" / "dbs" / f"t-{TENANT}" / "data"
    return _digest_rows(_own_copy(node) if leads else served)


def _own_copy(node: DevNode) -> Path:
    (found,) = (node.data / "tenants").glob(f"{TENANT}*.db")
    return found


def _digest_rows(path: Path) -> list[DigestRow]:
    address = f"{path.resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS_MAX)) as connection:
        return connection.execute(DIGESTS).fetchall()


def _client(url: str, token: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=url,
        headers={"Authorization": f"Bearer {token}"},
        timeout=ANSWER_SECONDS_MAX,
        trust_env=False,
    )
