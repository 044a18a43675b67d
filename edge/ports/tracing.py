"""What a service needs of tracing: spans that begin and end, and a header for the next node.

Nothing here knows OpenTelemetry. Without a collector everything goes to NO_TRACER, which does
nothing and allocates nothing.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

SpanKind: TypeAlias = Literal["internal", "server", "client"]
Attribute: TypeAlias = str | int | float | bool
Headers: TypeAlias = "Sequence[tuple[bytes, bytes]]"


class Span(Protocol):
    """A piece of work under way."""

    def put(self, **attributes: Attribute) -> None:
        """Add what became known; the names are those of `edge.tracing.ATTRIBUTES`."""
        ...

    def rename(self, name: str) -> None:
        """Name it by what it turned out to be, such as a route's template."""
        ...

    @property
    def trace_id(self) -> str:
        """The trace it belongs to, 32 hexadecimal digits; empty when nothing is traced."""
        ...


class Tracer(Protocol):
    """Makes spans."""

    @property
    def is_on(self) -> bool:
        """Whether spans go anywhere."""
        ...

    def span(
        self,
        name: str,
        /,
        *,
        kind: SpanKind = "internal",
        parent: str | None = None,
        links: Sequence[str] = (),
        **attributes: Attribute,
    ) -> AbstractContextManager[Span]:
        """Time what is done inside `with`, as a part of the span around it.

        `parent` and `links` are values of the header traceparent; malformed ones count as absent. A
        `server` span belongs to its `parent`, never to the span around it: it begins where another
        process has called. Attribute names are bounded: never a person, a token or a body.
        """
        ...

    def traceparent(self) -> str | None:
        """Return the header of the span around the caller, or None outside of any."""
        ...

    def inject(self, headers: Headers) -> list[tuple[bytes, bytes]]:
        """Return the headers of a call to another node, with the span around the caller named.

        Outside of any span they stay as they are: what a phone has sent is passed on.
        """
        ...

    def close(self) -> None:
        """Hand over what waits, within a few seconds; blocks, so it is called in a thread."""
        ...


class NoSpan:
    """Nobody looks at it."""

    __slots__ = ()
    trace_id = ""

    def put(self, **attributes: Attribute) -> None:
        """Forget."""

    def rename(self, name: str) -> None:
        """Forget."""


class NoTracer:
    """Traces nothing."""

    __slots__ = ()
    is_on = False

    def span(
        self,
        name: str,
        /,
        *,
        kind: SpanKind = "internal",
        parent: str | None = None,
        links: Sequence[str] = (),
        **attributes: Attribute,
    ) -> AbstractContextManager[Span]:
        """Return the one span that records nothing."""
        return _NO_SPAN

    def traceparent(self) -> str | None:
        """Return nothing."""
        return None

    def inject(self, headers: Headers) -> list[tuple[bytes, bytes]]:
        """Return the headers as they are."""
        return list(headers)

    def close(self) -> None:
        """Have nothing to hand over."""


# A nullcontext keeps no state: all tasks may enter the one.
_NO_SPAN: Final[AbstractContextManager[Span]] = nullcontext(NoSpan())
NO_TRACER: Final[Tracer] = NoTracer()
