"""Fan-out: from sending a change to the moment each of 500 streams has received it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from bench.child_process import ROOT, child_environment
from bench.figure import Figure
from bench.load import request
from bench.node_process import NodeProcess, data_folder, now_ms
from bench.phones import PUSH_PATH, edits_in_turn, introduced, outcomes, prepare, require_all_merged
from sync_protocol.codec import decode_server
from sync_protocol.messages.pushed import Pushed

if TYPE_CHECKING:
    from bench.todo_rows import Device

STREAMS_PER_PERSON = 5
PUSHERS = 4
"""Each sends every fourth change, so that a slow answer does not hold up the next change."""
READY_SECONDS_MAX = 60.0
PUSH_SECONDS_MAX = 60.0
END_SECONDS_MAX = 40.0


def measure(*, quick: bool) -> list[Figure]:
    streams, per_second, seconds = (10, 20, 0.5) if quick else (500, 20, 10)
    people = max(streams // STREAMS_PER_PERSON, PUSHERS)
    with data_folder() as folder:
        seen = prepare(folder, rows=100, people=people)
        with NodeProcess(folder) as node:
            devices = introduced(node, PUSHERS, seen)
            tokens = [node.token(f"person-{number % people}") for number in range(streams)]
            found = asyncio.run(
                told(
                    node, devices, node, tokens, changes=int(per_second * seconds), rate=per_second
                )
            )
    if found["lost"] or found["pulls"]:
        raise RuntimeError(f"changes were lost: {found}")
    return [
        Figure(name="fanout", value=found["p99_ms"], unit="ms (p99)", at_most=40),
        Figure(name="fanout.p50", value=found["p50_ms"], unit="ms"),
        Figure(name="fanout.max", value=found["max_ms"], unit="ms"),
        Figure(name="fanout.lost", value=found["lost"], unit="changes", at_most=0),
        Figure(name="fanout.received", value=found["received"], unit="changes"),
    ]


async def told(
    node: NodeProcess,
    devices: list[Device],
    streaming: NodeProcess,
    tokens: list[str],
    *,
    changes: int,
    rate: float,
) -> dict[str, Any]:
    """Start subscribers at `streaming`, send changes to `node`; return what the subscribers say."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.subscribers",
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=child_environment(),
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps({"port": streaming.port, "tokens": tokens}).encode() + b"\n")
        ready = await asyncio.wait_for(process.stdout.readline(), READY_SECONDS_MAX)
        if ready != b"ready\n":
            raise RuntimeError("the subscribers did not come up")
        sent = await asyncio.wait_for(
            _send(node, devices, changes=changes, rate=rate), PUSH_SECONDS_MAX + changes / rate
        )
        process.stdin.write(json.dumps(sent).encode() + b"\n")
        return json.loads(await asyncio.wait_for(process.stdout.readline(), END_SECONDS_MAX))
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _send(
    node: NodeProcess, devices: list[Device], *, changes: int, rate: float
) -> list[tuple[int, float]]:
    """Send changes at a fixed rate; return the sequence and the moment of sending of each."""
    _, mutations = edits_in_turn(devices, changes)
    started = time.monotonic() + 0.2
    lanes = [
        _push_in_time(node, device, own, first=started + i / rate, every=PUSHERS / rate)
        for i, (device, own) in enumerate(zip(devices, mutations, strict=True))
    ]
    return [pair for sent in await asyncio.gather(*lanes) for pair in sent]


async def _push_in_time(
    node: NodeProcess, device: Device, mutations: list[bytes], *, first: float, every: float
) -> list[tuple[int, float]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
    sent: list[tuple[int, float]] = []
    answers: list[bytes] = []
    for number, mutation in enumerate(mutations):
        await asyncio.sleep(first + number * every - time.monotonic())
        body = device.push([mutation], now_ms=now_ms())
        at = time.monotonic()
        writer.write(request("POST", PUSH_PATH, device.token, body))
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        answers.append(await reader.readexactly(length))
        pushed = decode_server(answers[-1])
        assert isinstance(pushed, Pushed), pushed
        sent.append((pushed.sequence, at))
    require_all_merged(outcomes(answers), len(mutations))
    writer.close()
    return sent
