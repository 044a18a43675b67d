"""Devices that sign in and then refresh, in a process of their own: it signs their proofs."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from pathlib import Path

import msgspec
import uvloop

from bench.identity_client import Connection, Device

CLOCK_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
"""The unit of the times in /proc/PID/stat (proc(5))."""


class RefreshLoad(msgspec.Struct):
    """`sessions` are shared out over `lanes` connections, which use theirs in turn."""

    port: int
    node_pid: int
    sessions: int
    lanes: int
    seconds: float


class Refreshed(msgspec.Struct):
    """Counted from the first request to the last answer, after every device has signed in."""

    seconds: float
    node_cpu_s: float
    own_cpu_s: float
    latencies_s: list[float]
    access_tokens: list[str]


def cpu_seconds(pid: int) -> float:
    """Return what a process has used of the processor, in user and system mode, in 10 ms steps."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS_PER_S


async def refresh(load: RefreshLoad) -> Refreshed:
    """Sign every device in, then refresh on all connections until the time is over."""
    devices = [Device() for _ in range(load.sessions)]
    shares = [devices[lane :: load.lanes] for lane in range(load.lanes)]
    connections = [await Connection.open(load.port) for _ in shares]
    latencies: list[float] = []

    async def sign_in(connection: Connection, share: list[Device]) -> None:
        for device in share:
            await device.sign_in(connection, "/v1/auth/anonymous")

    async def use(connection: Connection, share: list[Device], until: float) -> None:
        turn = 0
        while (sent := time.perf_counter()) < until:
            await share[turn % len(share)].refresh(connection)
            latencies.append(time.perf_counter() - sent)
            turn += 1

    await asyncio.gather(*map(sign_in, connections, shares))
    gc.disable()
    node_cpu, own_cpu = cpu_seconds(load.node_pid), time.process_time()
    started = time.perf_counter()
    until = started + load.seconds
    await asyncio.gather(*(use(c, s, until) for c, s in zip(connections, shares, strict=True)))
    seconds = time.perf_counter() - started
    return Refreshed(
        seconds=seconds,
        node_cpu_s=cpu_seconds(load.node_pid) - node_cpu,
        own_cpu_s=time.process_time() - own_cpu,
        latencies_s=latencies,
        access_tokens=[device.told.access_token for device in devices],
    )


def main() -> None:
    load = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=RefreshLoad)
    sys.stdout.buffer.write(msgspec.msgpack.encode(uvloop.run(refresh(load))))


if __name__ == "__main__":
    main()
