"""One database of a libSQL server, over libsql-client: batches with deadlines, and its fence.

The fence is one row, `sk_fence(id, epoch, commits)`. Every batch begins by counting `commits` up,
which fails unless both numbers are those the writer knows: a writer of an older epoch commits
nothing, and whether a batch whose answer was lost has been carried out can be read from it.
"""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import msgspec
from libsql_client import LibsqlError  # pyright: ignore[reportMissingTypeStubs]
from libsql_client import Statement as LibsqlStatement  # pyright: ignore[reportMissingTypeStubs]
from libsql_client.http import HttpClient  # pyright: ignore[reportMissingTypeStubs]

from edge.errors import EdgeError, StorageBusy, StorageFull, Unavailable
from edge.storage.recorded import Statement

if TYPE_CHECKING:
    from collections.abc import Sequence

ANSWER_SECONDS_MAX: Final = 10.0
"""sqld ends a transaction after 5 s by itself; after twice that no answer will come."""
CONNECT_SECONDS_MAX: Final = 2.0
FENCE_TABLE: Final = Statement(
    "CREATE TABLE IF NOT EXISTS sk_fence (id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1), "
    "epoch INTEGER NOT NULL, commits INTEGER NOT NULL) STRICT"
)
FENCE_ROW: Final = "INSERT INTO sk_fence (id, epoch, commits) VALUES (1, ?, 0)"
COUNT_UP: Final = (
    "UPDATE sk_fence SET commits = CASE WHEN epoch = ? AND commits = ? THEN commits + 1 END"
)
TAKE_OVER: Final = "UPDATE sk_fence SET epoch = ?, commits = commits + 1 WHERE epoch < ?"
READ_FENCE: Final = "SELECT epoch, commits FROM sk_fence"
_FULL: Final = ("SQLITE_FULL", "SQLITE_IOERR", "disk is full", "No space left")


@dataclass(frozen=True, slots=True)
class Fence:
    """Who may write (by epoch), and how many batches were committed."""

    epoch: int
    commits: int


class FenceLost(Unavailable):
    """The batch was refused: the database has another epoch, or commits this writer knows not."""


class BatchRefused(StorageBusy):
    """The server could not carry out a statement that the working copy has carried out."""


class SqldDatabase:
    """One namespace of a server."""

    def __init__(self, address: str, namespace: str, *, auth_token: str = "") -> None:
        self._url = f"http://{address}"
        self.namespace = namespace
        self._token = auth_token
        self._client: HttpClient | None = None

    async def fence(self) -> Fence | None:
        """Return the fence, or None when the database has none yet; raises Unavailable."""
        try:
            rows = await self.rows(READ_FENCE)
        except BatchRefused as error:
            if "no such table" in error.message:
                return None
            raise
        return Fence(int(rows[0][0]), int(rows[0][1])) if rows else None

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of one bounded statement."""
        client = await self._connected()
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                result = await client.execute(sql)
        except LibsqlError as error:
            raise _translated(error) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable("The SQL server does not answer.") from error
        return [tuple(row) for row in result.rows]

    async def commit(self, statements: Sequence[Statement]) -> int:
        """Carry out a batch in one transaction; return how many rows it changed.

        Raises FenceLost, BatchRefused and StorageFull (nothing was carried out) or Unavailable
        (nobody knows).
        """
        batch: list[Any] = [LibsqlStatement(s.sql, list(s.parameters)) for s in statements]
        client = await self._connected()
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                results = await client.batch(batch)
        except LibsqlError as error:
            raise _translated(error) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable("The SQL server does not answer.") from error
        return sum(result.rows_affected for result in results)

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _connected(self) -> HttpClient:
        """Return the client; its session sends the namespace, which libsql-client cannot."""
        if self._client is None:
            named = base64.b64encode(self.namespace.encode()).rstrip(b"=").decode()
            headers = {"x-namespace-bin": named}
            if self._token:
                headers["authorization"] = f"Bearer {self._token}"
            client = HttpClient(self._url)
            await client.close()
            client._session = aiohttp.ClientSession(  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
                headers=headers,
                json_serialize=lambda document: msgspec.json.encode(document).decode(),
                timeout=aiohttp.ClientTimeout(sock_connect=CONNECT_SECONDS_MAX),
            )
            self._client = client
        return self._client


class SqldServer:
    """The server's admin interface: its namespaces."""

    def __init__(self, admin_address: str) -> None:
        self._url = f"http://{admin_address}"

    async def create(self, namespace: str) -> None:
        """Make a database that syncs every commit to the disk; does nothing when it is there."""
        await self._post(f"/v1/namespaces/{namespace}/create", {"durability_mode": "strong"})

    async def destroy(self, namespace: str) -> None:
        """Drop a database, here and on its replicas; does nothing when there is none."""
        await self._send("DELETE", f"/v1/namespaces/{namespace}", None, known=(400, 404))

    async def _post(self, path: str, document: dict[str, Any]) -> None:
        await self._send("POST", path, document, known=(400, 409))

    async def _send(
        self, method: str, path: str, document: dict[str, Any] | None, *, known: tuple[int, ...]
    ) -> None:
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS_MAX)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.request(method, self._url + path, json=document) as answer,
            ):
                text = await answer.text()
                if answer.ok or (answer.status in known and "exist" in text.lower()):
                    return
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable("The SQL server does not answer.") from error
        raise Unavailable(f"The SQL server refused a namespace: {text[:200]}")


def _translated(error: LibsqlError) -> EdgeError:
    text = f"{error.code} {error}"
    if "sk_fence.commits" in text:
        return FenceLost("Another primary has taken over this database.")
    if any(word in text for word in _FULL):
        return StorageFull("The SQL server's disk is full or failing; nothing was taken.")
    if "SQLITE" in str(error.code).upper() or "SQL" in str(error).upper():
        return BatchRefused(f"{error!s:.300}")
    return Unavailable(f"The SQL server failed: {error!s:.200}")
