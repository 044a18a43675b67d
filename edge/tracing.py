"""Traces of a node: OpenTelemetry spans over OTLP/HTTP, joined to a phone's by W3C traceparent.

Without a collector (`SKERRY_TRACES` empty) nothing is imported and nothing is recorded. The
packages are those of the extra `traces`. Sampling is OpenTelemetry's own: OTEL_TRACES_SAMPLER and
OTEL_TRACES_SAMPLER_ARG; a phone that says its trace is not sampled is believed.

Invariants
  Z1  a span holds the attributes of ATTRIBUTES only: a tenant, never a person, token, query or body
  Z2  of an exception only its type is kept: messages and stacks may hold what a person sent
  Z3  a slow or absent collector costs QUEUE_SPANS_MAX spans of memory, and no request waits for it
  Z4  a span of kind `server` has the parent its caller named, or none
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from edge.errors import Unavailable
from edge.ports.tracing import NO_TRACER

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from opentelemetry import trace
    from opentelemetry.context import Context

    from edge.ports.tracing import Attribute, Headers, Span, SpanKind, Tracer

ATTRIBUTES: Final = {
    "breaker": "skerry.breaker",
    "bytes": "skerry.bytes",
    "database": "skerry.database",
    "epoch": "skerry.epoch",
    "method": "http.request.method",
    "mutations": "skerry.mutations",
    "node": "skerry.node",
    "outcome": "skerry.outcome",
    "region": "skerry.region",
    "request_id": "skerry.request_id",
    "route": "http.route",
    "rows": "skerry.rows",
    "sequence": "skerry.sequence",
    "statements": "skerry.statements",
    "status": "http.response.status_code",
    "tenant": "skerry.tenant",
}
"""What a span may say (Z1), and how collectors call it."""
QUEUE_SPANS_MAX: Final = 4_096
"""About 15 MB; a second of a busy node. What comes when it is full is dropped."""
BATCH_SPANS_MAX: Final = 512
EXPORT_EVERY_MS: Final = 1_000
EXPORT_S_MAX: Final = 5
"""A collector lies nearby; one that takes longer is as good as away."""
CLOSE_S_MAX: Final = 3.0
"""How long a stopping node waits for its collector; service managers kill after some ten."""
VALUE_LENGTH_MAX: Final = 128
LINKS_MAX: Final = 32
"""A group commit serves hundreds of pushes; some of them show what it is about."""
TRACEPARENT_LENGTH_MAX: Final = 128
"""A version 00 has 55 characters; what later ones append is ignored."""
TRACES_PATH: Final = "/v1/traces"
ERRORS_FROM: Final = 500
"""Refusals below it are the caller's (OpenTelemetry's conventions for HTTP servers)."""
_CARRIED: Final = frozenset({b"traceparent", b"tracestate"})


def build_tracer(collector: str, *, node: str, role: str, region: str, version: str) -> Tracer:
    """Return the tracer of one process; an empty `collector` is none at all.

    Raises Unavailable when OpenTelemetry is wanted and not installed.
    """
    if not collector:
        return NO_TRACER
    try:
        return OtlpTracer(collector, node=node, role=role, region=region, version=version)
    except ImportError as error:
        raise Unavailable("SKERRY_TRACES needs more packages: install skerry[traces].") from error


class OtlpTracer:
    """Spans to an OTLP/HTTP collector, by a thread of its own; `collector` is its address."""

    is_on = True

    def __init__(self, collector: str, *, node: str, role: str, region: str, version: str) -> None:
        # Only a node that traces pays for loading these: some 9 MB and 0.1 s.
        from opentelemetry import trace  # noqa: PLC0415
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import SpanLimits, TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
        from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415
            TraceContextTextMapPropagator,
        )

        # It warns of every attempt; that spans were lost is an error, told every few seconds.
        logging.getLogger("opentelemetry.exporter").setLevel(logging.ERROR)
        self._api = trace
        self._propagator = TraceContextTextMapPropagator()
        self._kinds: dict[SpanKind, trace.SpanKind] = {
            "internal": trace.SpanKind.INTERNAL,
            "server": trace.SpanKind.SERVER,
            "client": trace.SpanKind.CLIENT,
        }
        about = {"service.name": "skerry", "service.version": version, "service.instance.id": node}
        self._provider = TracerProvider(
            resource=Resource.create({**about, "skerry.role": role, "skerry.region": region}),
            span_limits=SpanLimits(
                max_span_attributes=len(ATTRIBUTES),
                max_span_attribute_length=VALUE_LENGTH_MAX,
                max_links=LINKS_MAX,
            ),
            shutdown_on_exit=False,
        )
        self._exporter = OTLPSpanExporter(collector + TRACES_PATH, timeout=EXPORT_S_MAX)
        self.processor = BatchSpanProcessor(
            self._exporter,
            max_queue_size=QUEUE_SPANS_MAX,
            max_export_batch_size=BATCH_SPANS_MAX,
            schedule_delay_millis=EXPORT_EVERY_MS,
        )
        self._provider.add_span_processor(self.processor)
        self._tracer = self._provider.get_tracer("skerry", version)

    @contextmanager
    def span(
        self,
        name: str,
        /,
        *,
        kind: SpanKind = "internal",
        parent: str | None = None,
        links: Sequence[str] = (),
        **attributes: Attribute,
    ) -> Generator[Span]:
        """Time what is done inside `with`; see `edge.ports.tracing.Tracer`."""
        context = self._parsed(parent) if parent or kind == "server" else None  # Z4
        span = self._tracer.start_span(
            name,
            context=context,
            kind=self._kinds[kind],
            links=[self._api.Link(at) for at in self._linked(links)],
            attributes=_named(attributes),
        )
        with self._api.use_span(
            span, end_on_exit=True, record_exception=False, set_status_on_exception=False
        ):
            try:
                yield _OtlpSpan(span, self._failed)
            except BaseException as error:
                # Z2; a cancelled task is shown too, since its caller has got no answer.
                span.set_status(self._failed(type(error).__name__))
                raise

    def traceparent(self) -> str | None:
        """Return the header of the span around the caller."""
        at = self._api.get_current_span().get_span_context()
        if not at.is_valid:
            return None
        return f"00-{at.trace_id:032x}-{at.span_id:016x}-{int(at.trace_flags):02x}"

    def inject(self, headers: Headers) -> list[tuple[bytes, bytes]]:
        """Return headers that name the span around the caller, in place of what a phone named."""
        own = self.traceparent()
        if own is None:
            return list(headers)
        kept = [(name, value) for name, value in headers if name.lower() not in _CARRIED]
        return [*kept, (b"traceparent", own.encode())]

    def close(self) -> None:
        """Hand over what waits; after CLOSE_S_MAX what is left is given up."""
        give_up = threading.Timer(CLOSE_S_MAX, self._exporter.shutdown)
        give_up.daemon = True
        give_up.start()
        try:
            self._provider.shutdown()
        finally:
            give_up.cancel()

    def _failed(self, why: str) -> trace.Status:
        return self._api.Status(self._api.StatusCode.ERROR, why)

    def _parsed(self, traceparent: str | None) -> Context:
        """Return the context that a header names; an empty one for a malformed header."""
        if traceparent is None or len(traceparent) > TRACEPARENT_LENGTH_MAX:
            traceparent = ""
        return self._propagator.extract({"traceparent": traceparent})

    def _linked(self, links: Sequence[str]) -> list[trace.SpanContext]:
        named = [
            self._api.get_current_span(self._parsed(link)).get_span_context()
            for link in links[:LINKS_MAX]
        ]
        return [at for at in named if at.is_valid]


class _OtlpSpan:
    """A span that is being recorded."""

    __slots__ = ("_failed", "_span")

    def __init__(self, span: trace.Span, failed: Callable[[str], trace.Status]) -> None:
        self._span = span
        self._failed = failed

    def put(self, **attributes: Attribute) -> None:
        """Add attributes; a status of 500 or more makes it a failed span."""
        self._span.set_attributes(_named(attributes))
        status = attributes.get("status")
        if isinstance(status, int) and status >= ERRORS_FROM:
            self._span.set_status(self._failed(str(status)))

    def rename(self, name: str) -> None:
        """Give it another name."""
        self._span.update_name(name)

    @property
    def trace_id(self) -> str:
        """The trace's id."""
        return f"{self._span.get_span_context().trace_id:032x}"


def _named(attributes: dict[str, Attribute]) -> dict[str, Attribute]:
    assert attributes.keys() <= ATTRIBUTES.keys(), f"no such attributes: {sorted(attributes)}"
    return {ATTRIBUTES[name]: value for name, value in attributes.items()}
