"""Logs and metrics of a node: JSON lines on stderr, Prometheus text, one id per request.

Neither ever holds a body, a token, a query string or a person's id; that is also why the server's
own lines about connections are kept out.
"""

from __future__ import annotations

import logging
import re
import secrets
import sys
from typing import TYPE_CHECKING, Any, Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TENANTS_NAMED_MAX: Final = 50
"""A label per tenant is a time series per tenant: beyond this only the sum is shown."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{7,63}", re.ASCII)
_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"})
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_COUNTS: Final = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000)


def request_id(offered: str | None) -> str:
    """Return the caller's request id if it is well formed, else a new one."""
    if offered is not None and _REQUEST_ID.fullmatch(offered):
        return offered
    return secrets.token_hex(8)


def configure_logs(level: str) -> None:
    """Write structlog's and the standard library's records as JSON lines to stderr."""
    # Local variables hold bodies and tokens: a traceback names lines, never values.
    tracebacks = structlog.processors.ExceptionRenderer(
        structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    )
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            *shared,
            tracebacks,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            tracebacks,
            structlog.processors.JSONRenderer(),
        ],
        foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    logging.getLogger("uvicorn").setLevel(max(logging.WARNING, logging.getLogger().level))


class Metrics:
    """Every number a node shows; each node has a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        own: dict[str, Any] = {"registry": self.registry, "namespace": "skerry"}
        self._requests = Counter("requests", "Requests", ("method", "route", "status"), **own)
        self._latency = Histogram(
            "request_seconds", "Time to answer", ("route",), buckets=_SECONDS, **own
        )
        self.push_mutations = Histogram(
            "push_mutations", "Mutations per push", buckets=_COUNTS, **own
        )
        self.body_bytes = Counter("body_bytes", "Bytes of request bodies, as received", **own)
        self.commit_mutations = Histogram(
            "commit_mutations", "Mutations per group commit", buckets=_COUNTS, **own
        )
        self.merge_seconds = Histogram(
            "merge_seconds", "Time to judge, merge and commit a group", buckets=_SECONDS, **own
        )
        self.streams = Gauge("streams", "Open streams", **own)
        self.dropped_pokes = Counter("dropped_pokes", "Pokes dropped for slow readers", **own)
        self._forgotten_pokes = Gauge(
            "forgotten_pokes", "Pokes replaced by one without data, since the start", **own
        )
        self._sequence = Gauge("sequence", "Commit sequence", ("tenant",), **own)
        self._sequence_sum = Gauge("sequence_sum", "Commit sequences of all tenants", **own)
        self._by_route: dict[tuple[str, str, int], tuple[Any, Any]] = {}

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request; `route` is a path template, never a path."""
        key = (method if method in _METHODS else "other", route, status)
        known = self._by_route.get(key)
        if known is None:
            known = (self._requests.labels(key[0], route, str(status)), self._latency.labels(route))
            self._by_route[key] = known
        known[0].inc()
        known[1].observe(seconds)

    def committed(self, mutations: int, seconds: float) -> None:
        """Count one group commit."""
        self.commit_mutations.observe(mutations)
        self.merge_seconds.observe(seconds)

    def follow_sequences(self, read: Callable[[], Mapping[str, int]]) -> None:
        """Show each tenant's commit sequence when asked; names only while there are few."""
        self._read_sequences = read

    def follow_forgotten_pokes(self, read: Callable[[], int]) -> None:
        """Show how many pokes slow streams have lost, when asked."""
        self._forgotten_pokes.set_function(read)

    def text(self) -> bytes:
        """Return everything in the Prometheus text format."""
        sequences = self._read_sequences()
        self._sequence_sum.set(sum(sequences.values()))
        self._sequence.clear()
        if len(sequences) <= TENANTS_NAMED_MAX:
            for tenant, sequence in sequences.items():
                self._sequence.labels(tenant).set(sequence)
        return generate_latest(self.registry)

    @staticmethod
    def _read_sequences() -> Mapping[str, int]:
        return {}
