"""What the nodes of a fleet say of themselves over their public URLs: readiness, some metrics."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import isfinite, nan
from typing import TYPE_CHECKING, Final

import httpx
from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import Sequence

ANSWER_SECONDS_MAX: Final = 0.8
"""A table that is drawn once a second waits no longer for a node."""
ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
"""A node shows some hundred lines of metrics; what follows is not read."""
ASKED_AT_ONCE_MAX: Final = 16
SEQUENCE: Final = "skerry_sequence_sum"
LAG_MS: Final = "skerry_replica_lag_milliseconds_max"
LEADS: Final = "skerry_is_primary"
OUTBOX: Final = "skerry_outbox_mutations"
STREAMS: Final = "skerry_streams"


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One node; a number that it does not show is None.

    `state` is `ready`, `not ready` or `away` (no answer); `lag_ms` is that of the slowest tenant;
    `leads` tells whether it is the primary.
    """

    url: str
    state: str
    leads: bool | None = None
    sequence: int | None = None
    lag_ms: int | None = None
    outbox: int | None = None
    streams: int | None = None

    @property
    def is_ready(self) -> bool:
        """Whether the node serves."""
        return self.state == "ready"


def fleet_status(urls: Sequence[str]) -> list[NodeStatus]:
    """Ask every node at once and return their answers in the order of `urls`; never raises."""
    if not urls:
        return []
    with (
        httpx.Client(timeout=ANSWER_SECONDS_MAX, trust_env=False) as client,
        ThreadPoolExecutor(min(len(urls), ASKED_AT_ONCE_MAX)) as threads,
    ):
        return list(threads.map(partial(_status, client), urls))


def _status(client: httpx.Client, url: str) -> NodeStatus:
    try:
        health = client.get(f"{url}/health/ready")
        metrics = _metrics(client, url)
    except httpx.HTTPError:
        return NodeStatus(url, "away")
    leads = _sum(metrics.get(LEADS))
    return NodeStatus(
        url,
        "ready" if health.is_success else "not ready",
        leads=None if leads is None else leads > 0,
        sequence=_sum(metrics.get(SEQUENCE)),
        lag_ms=_sum(metrics.get(LAG_MS)),
        outbox=_sum(metrics.get(OUTBOX)),
        streams=_sum(metrics.get(STREAMS)),
    )


def _sum(values: list[float] | None) -> int | None:
    """Add up; what is unknown (NaN) anywhere is unknown in all."""
    total = sum(values or [nan])
    return round(total) if isfinite(total) else None


def _metrics(client: httpx.Client, url: str) -> dict[str, list[float]]:
    """Return the values of each metric; none when the node does not show them here."""
    page = b""
    with client.stream("GET", f"{url}/metrics") as response:
        if not response.is_success:
            return {}
        for chunk in response.iter_bytes():
            page += chunk
            if len(page) > ANSWER_BYTES_MAX:
                return {}
    values: dict[str, list[float]] = {}
    try:
        for family in text_string_to_metric_families(page.decode()):
            for sample in family.samples:
                values.setdefault(sample.name, []).append(sample.value)
    except ValueError:
        return {}
    return values
