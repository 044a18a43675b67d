"""Logs and metrics of a node: JSON lines on stderr, Prometheus text, one id per request.

What the fleet, the limits and the mailer know is asked for when the metrics are read: each follows
a callable that only looks at numbers in memory. Neither logs nor metrics ever hold a body, a token,
a query string or a person's id; that is also why the server's own lines about connections are kept
out.
"""

from __future__ import annotations

import io
import logging
import re
import secrets
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client import Metric

TENANTS_NAMED_MAX: Final = 50
"""A label per tenant is a time series per tenant: beyond this only the sum is shown."""
NODES_NAMED_MAX: Final = 50
"""As for tenants: names of removed nodes are let in again, so their number has no bound."""
BREAKER_STATES: Final = {"closed": 0, "half-open": 1, "open": 2}
_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{7,63}", re.ASCII)
_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"})
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_COUNTS: Final = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000)


def request_id(offered: str | None) -> str:
    """Return the caller's request id if it is well formed, else a new one."""
    if offered is not None and _REQUEST_ID.fullmatch(offered):
        return offered
    return secrets.token_hex(8)


def known_method(method: str) -> str:
    """Return an HTTP method as a label: one of a few words."""
    return method if method in _METHODS else "other"


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
        logger_factory=structlog.WriteLoggerFactory(_Stderr()),
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
    for talkative in ("uvicorn", "httpx", "httpcore"):
        logging.getLogger(talkative).setLevel(max(logging.WARNING, logging.getLogger().level))


@dataclass(frozen=True, slots=True, kw_only=True)
class MailReading:
    """The mailer's numbers: mails that wait now, and what became of the others since the start."""

    waiting: int = 0
    sent: int = 0
    failed: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetReading:
    """What a node knows of the fleet at one moment; counts are since its start.

    On an edge: `lags` holds (sequences, ms) by tenant, ms None when unknown; `outbox_*` and
    `breaker` (BREAKER_STATES) tell how it gets on with the primary; `accepted` mutations went to
    the outbox, `drained` ones were judged by the primary since, `refused` ones found no room.
    On a primary: `replicated` by tenant, `report_ages_ms` by node, `rebuilds` of its working copy.
    """

    is_primary: bool
    epoch: int
    is_sqld_up: bool
    lags: Mapping[str, tuple[int, int | None]] = field(
        default_factory=dict[str, tuple[int, int | None]]
    )
    replica_age_ms: int | None = None
    outbox_mutations: int = 0
    outbox_bytes: int = 0
    outbox_oldest_ms: int = 0
    breaker: str = "closed"
    accepted: int = 0
    drained: int = 0
    refused: int = 0
    replicated: Mapping[str, int] = field(default_factory=dict[str, int])
    report_ages_ms: Mapping[str, int] = field(default_factory=dict[str, int])
    rebuilds: int = 0


class FleetCollector(Collector):
    """Shows one reading whenever the metrics are read, so that its numbers belong together."""

    def __init__(self, read: Callable[[], FleetReading]) -> None:
        self._read = read

    def describe(self) -> list[Metric]:
        """Return nothing: registering asks nobody for a reading."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        reading = self._read()
        yield _gauge("epoch", "Epoch of the fleet's primary", reading.epoch)
        yield _gauge("is_primary", "Whether this node leads", int(reading.is_primary))
        yield _gauge("sqld_up", "Whether sqld answers", int(reading.is_sqld_up))
        yield from _of_primary(reading) if reading.is_primary else _of_edge(reading)


def _of_edge(reading: FleetReading) -> Iterator[Metric]:
    sequences = {tenant: lag[0] for tenant, lag in reading.lags.items()}
    ages = {tenant: lag[1] for tenant, lag in reading.lags.items() if lag[1] is not None}
    named = len(reading.lags) <= TENANTS_NAMED_MAX
    yield _labelled(
        "replica_lag_sequences",
        "Commits the primary has more",
        "tenant",
        sequences if named else {},
    )
    yield _labelled(
        "replica_lag_milliseconds",
        "Since the replica was last known to be level; 0 when it is",
        "tenant",
        ages if named else {},
    )
    most = max(sequences.values(), default=0)
    yield _gauge("replica_lag_sequences_max", "Of the tenant furthest behind", most)
    # An unknown age is no number: it must neither look like level nor hide.
    age = float("nan") if reading.replica_age_ms is None else reading.replica_age_ms
    yield _gauge("replica_lag_milliseconds_max", "Of the oldest replica; NaN when unknown", age)
    yield _gauge("outbox_mutations", "Accepted mutations that wait", reading.outbox_mutations)
    yield _gauge("outbox_bytes", "Bytes of the mutations that wait", reading.outbox_bytes)
    yield _gauge(
        "outbox_oldest_seconds", "Since the oldest was accepted", reading.outbox_oldest_ms / 1_000
    )
    state = BREAKER_STATES[reading.breaker]
    yield _gauge("breaker_state", "To the primary: 0 closed, 1 half-open, 2 open", state)
    yield _counter("mutations_accepted", "Mutations put into the outbox", reading.accepted)
    yield _counter("mutations_drained", "Mutations of it the primary has judged", reading.drained)
    yield _counter("mutations_refused", "Mutations that found no room in it", reading.refused)


def _of_primary(reading: FleetReading) -> Iterator[Metric]:
    replicated = reading.replicated
    yield _labelled(
        "replicated_sequence",
        "Up to which commits outlive the primary",
        "tenant",
        replicated if len(replicated) <= TENANTS_NAMED_MAX else {},
    )
    yield _gauge("replicated_sequence_sum", "Of all tenants", sum(replicated.values()))
    ages = {node: age_ms / 1_000 for node, age_ms in reading.report_ages_ms.items()}
    yield _labelled(
        "report_age_seconds",
        "Since a node's last report",
        "node",
        ages if len(ages) <= NODES_NAMED_MAX else {},
    )
    yield _gauge("report_age_seconds_max", "Of the quietest node", max(ages.values(), default=0))
    yield _counter("working_copy_rebuilds", "Working copies made anew", reading.rebuilds)


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(f"skerry_{name}", about, value=value)


def _counter(name: str, about: str, value: float) -> Metric:
    return CounterMetricFamily(f"skerry_{name}", about, value=value)


def _labelled(name: str, about: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"skerry_{name}", about, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


class _LimitsCollector(Collector):
    """Refusals by kind; kinds are words of the program, never of a request."""

    def __init__(self, read: Callable[[], Mapping[str, int]]) -> None:
        self._read = read

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(
            "skerry_limit_refusals", "Requests refused by a limit", labels=["kind"]
        )
        for kind, count in self._read().items():
            family.add_metric([kind], count)
        yield family


class _MailsCollector(Collector):
    def __init__(self, read: Callable[[], MailReading]) -> None:
        self._read = read

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        reading = self._read()
        yield _gauge("mails_waiting", "Mails neither sent nor given up", reading.waiting)
        family = CounterMetricFamily("skerry_mails", "Mails by outcome", labels=["outcome"])
        for outcome in ("sent", "failed", "dropped"):
            family.add_metric([outcome], getattr(reading, outcome))
        yield family


class _Stderr(io.StringIO):
    """Standard error; a log that cannot be written must not end what it tells of.

    When the log lies on a disk that is full, writing a line raises.
    """

    def __init__(self) -> None:
        super().__init__()
        self._stream = sys.stderr

    def write(self, text: str, /) -> int:
        """Write what can be written."""
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush if that is possible."""
        with suppress(OSError):
            self._stream.flush()


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
        key = (known_method(method), route, status)
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

    def follow_fleet(self, read: Callable[[], FleetReading]) -> None:
        """Show what the node knows of the fleet; called once, by nodes that belong to one."""
        self.registry.register(FleetCollector(read))

    def follow_refusals(self, read: Callable[[], Mapping[str, int]]) -> None:
        """Show how many requests the limits have refused, by kind; called once."""
        self.registry.register(_LimitsCollector(read))

    def follow_mails(self, read: Callable[[], MailReading]) -> None:
        """Show what becomes of mails; called once, by the process that sends them."""
        self.registry.register(_MailsCollector(read))

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
