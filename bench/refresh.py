"""Refresh: devices exchange their refresh tokens, each with a proof, on one worker.

The limit is what the same node answers to GET /v1/spaces with the access tokens it has given: the
cost of HTTP, token check and limits without what a refresh adds to them.
"""

from __future__ import annotations

import msgspec

from bench.child_process import run_python
from bench.figure import Figure, percentile
from bench.identity_client import LIMITS_NOT_MET
from bench.load import Load, request, run_load
from bench.node_process import NodeProcess, data_folder
from bench.refresh_load import Refreshed, RefreshLoad

LANES = 48
SESSIONS = 960
"""Enough that no device meets its own limit, 60 at once: each refreshes some ten times."""
SECONDS_MAX = 120.0


def measure(*, quick: bool) -> list[Figure]:
    seconds = 0.3 if quick else 5.0
    sessions, lanes = (16, 8) if quick else (SESSIONS, LANES)
    with data_folder() as folder, NodeProcess(folder, limits=LIMITS_NOT_MET) as node:
        load = RefreshLoad(node.port, node.pid, sessions, lanes, seconds)
        answer = run_python(
            "bench.refresh_load", msgspec.msgpack.encode(load), seconds_max=SECONDS_MAX
        )
        done = msgspec.msgpack.decode(answer, type=Refreshed)
        plain = [request("GET", "/v1/spaces", token) for token in done.access_tokens]
        shares = [plain[lane::lanes] for lane in range(lanes)]
        limit = run_load(Load(node.port, shares, seconds=seconds / 2))
    count = len(done.latencies_s)
    return [
        Figure(
            name="refresh",
            value=count / done.seconds,
            unit="refreshes/s",
            limit=limit.per_second,
            at_least=1_000,
        ),
        Figure(name="refresh.p99", value=percentile(done.latencies_s, 0.99) * 1_000, unit="ms"),
        Figure(name="refresh.cpu", value=done.node_cpu_s / count * 1e6, unit="us of the node"),
        Figure(name="refresh.client_cpu", value=done.own_cpu_s / done.seconds, unit="cores"),
    ]
