"""Bootstrap: a new phone reads and stores everything its person may see, and verifies the digest.

The phone is the reference client with a file of its own, in a process of its own.
`python -m bench.bootstrap` is that process.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from bench.figure import Figure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator

    from bench.node_process import NodeProcess

PHONE_SECONDS_MAX = 300.0
SAMPLE_SECONDS = 0.005


def measure(*, quick: bool) -> list[Figure]:
    from bench.child_process import run_python  # noqa: PLC0415  (the phone has no server loaded)
    from bench.limits import seconds_to_insert  # noqa: PLC0415
    from bench.node_process import NodeProcess, data_folder, database_of  # noqa: PLC0415
    from bench.phones import prepare  # noqa: PLC0415

    rows = 500 if quick else 100_000
    with data_folder() as folder:
        prepare(folder, rows=rows, people=1)
        insert_s, _ = seconds_to_insert(folder / "raw.sqlite", database_of(folder))
        json_bytes = _json_bytes(rows)
        with NodeProcess(folder) as node:
            node.hello("person-0", "an-earlier-phone")
            given = {
                "url": f"http://127.0.0.1:{node.port}",
                "token": node.token("person-0"),
                "path": str(folder / "phone.sqlite"),
            }
            with _growth_mib(node) as growth:
                answer = run_python(
                    "bench.bootstrap", json.dumps(given).encode(), seconds_max=PHONE_SECONDS_MAX
                )
        phone = json.loads(answer)
        if phone["rows"] != rows or phone["digest"] != asyncio.run(_digest(folder)):
            raise RuntimeError(f"the phone does not hold what the node holds: {phone}")
    return [
        Figure(
            name="bootstrap",
            value=rows / phone["seconds"],
            unit="rows/s",
            limit=rows / insert_s,
            at_least=100_000,
        ),
        Figure(name="bootstrap.server_growth", value=growth[0], unit="MiB", at_most=64),
        Figure(
            name="bootstrap.wire",
            value=phone["wire_bytes"] / json_bytes,
            unit="of plain JSON",
            at_most=0.6,
        ),
        Figure(name="bootstrap.wire_per_row", value=phone["wire_bytes"] / rows, unit="bytes"),
        Figure(name="bootstrap.phone_peak", value=phone["peak_mib"], unit="MiB"),
    ]


def _json_bytes(count: int) -> int:
    """Return the size of the same rows as plain JSON: one list of objects, values and id only."""
    from bench.todo_rows import todo_rows  # noqa: PLC0415

    plain = [{"id": row.id, **row.fields} for row in todo_rows(count)]
    return len(json.dumps(plain).encode())


async def _digest(folder: Path) -> str:
    """Ask the services for the space's digest."""
    from bench.node_process import services  # noqa: PLC0415
    from bench.todo_rows import SPACE  # noqa: PLC0415

    async with services(folder) as tenant:
        members = await tenant.members.list(SPACE)
        found = await tenant.database.read(lambda unit: tenant.pulls.digests(unit, members))
    return found[SPACE].hex()


@contextmanager
def _growth_mib(node: NodeProcess) -> Generator[list[float]]:
    """Yield a list that holds, afterwards, how far the node's memory rose above where it stood."""
    before, highest, growth = node.resident_mib(), [0.0], [0.0]
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(SAMPLE_SECONDS):
            highest[0] = max(highest[0], node.resident_mib())

    node.reset_peak()
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield growth
    finally:
        is_over.set()
        watcher.join()
    growth[0] = max(highest[0], node.resident_mib(peak=True)) - before


class _CountingTransport(httpx.AsyncHTTPTransport):
    """Counts the bytes of heads and bodies as they come over the wire, compressed as they are."""

    received_bytes = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        headers = response.headers.raw
        self.received_bytes += sum(len(name) + len(value) + 4 for name, value in headers) + 17
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _CountedStream(response.stream, self)
        return response


class _CountedStream(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, transport: _CountingTransport) -> None:
        self._stream = stream
        self._transport = transport

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            self._transport.received_bytes += len(chunk)
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


def _peak_mib() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1_024


async def be_phone(*, url: str, token: str, path: str) -> dict[str, Any]:
    """Sync a new file once; tell how long it took and what it holds."""
    from bench.todo_app import app  # noqa: PLC0415
    from bench.todo_rows import COLLECTION, SPACE  # noqa: PLC0415
    from skerry_client import Skerry  # noqa: PLC0415

    transport = _CountingTransport()
    phone = Skerry(path, app, url=url, token=token, background=False, http_transport=transport)
    try:
        started = time.perf_counter()
        status = await phone.sync()
        seconds = time.perf_counter() - started
        if not status.is_current or status.damaged:
            raise RuntimeError(f"the round did not go through: {status}")
        count = phone.query(f"SELECT count(*) FROM {COLLECTION}")[0][0]
        return {
            "seconds": seconds,
            "rows": count,
            "digest": phone.digests()[SPACE],
            "wire_bytes": transport.received_bytes,
            "peak_mib": _peak_mib(),
        }
    finally:
        await phone.close()


if __name__ == "__main__":
    json.dump(asyncio.run(be_phone(**json.load(sys.stdin))), sys.stdout)
