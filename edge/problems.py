"""Problem details (RFC 9457): the one table from fault kinds to HTTP, and what fills a problem."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from litestar.exceptions import HTTPException

from core.errors import Refusal
from edge.errors import (
    ClockApart,
    ClonedDevice,
    CounterGap,
    EdgeError,
    InvalidGrant,
    RateLimited,
)
from sync_protocol.errors import ProtocolError
from sync_protocol.faults import FaultKind
from sync_protocol.messages.fault import Fault

if TYPE_CHECKING:
    from collections.abc import Mapping

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:skerry:fault:"
REQUEST_PREFIX: Final = "urn:skerry:request:"


class Kind(NamedTuple):
    """How one kind of fault looks over HTTP."""

    status: int
    title: str


KINDS: Final[Mapping[FaultKind, Kind]] = {
    FaultKind.MALFORMED: Kind(400, "The request is malformed"),
    FaultKind.TOO_LARGE: Kind(413, "The request is too large"),
    FaultKind.UNSUPPORTED_MEDIA: Kind(415, "The media type is not supported"),
    FaultKind.UNKNOWN_MESSAGE: Kind(400, "The message is unknown"),
    FaultKind.OUT_OF_TURN: Kind(409, "The message is out of turn"),
    FaultKind.PROTOCOL_VERSION: Kind(400, "The protocol version is not spoken here"),
    FaultKind.WRONG_APP: Kind(409, "The node serves another app"),
    FaultKind.SCHEMA_AHEAD: Kind(503, "The node's schema is older than the device's"),
    FaultKind.SCHEMA_TOO_OLD: Kind(409, "The app needs an upgrade"),
    FaultKind.UNAUTHENTICATED: Kind(401, "A valid access token is needed"),
    FaultKind.INVALID_GRANT: Kind(400, "The grant is not valid"),
    FaultKind.STEP_UP_NEEDED: Kind(403, "This needs a fresh proof of identity"),
    FaultKind.CLOCK_APART: Kind(400, "The device's clock is too far from the node's"),
    FaultKind.FORBIDDEN: Kind(403, "This is not allowed"),
    FaultKind.UNKNOWN_TENANT: Kind(404, "The tenant is not served here"),
    FaultKind.UNKNOWN_DEVICE: Kind(409, "The device is not known"),
    FaultKind.CLONED_DEVICE: Kind(409, "The device was cloned or restored"),
    FaultKind.COUNTER_GAP: Kind(409, "Mutations are missing"),
    FaultKind.CURSOR_UNKNOWN: Kind(410, "The cursor cannot be continued"),
    FaultKind.NOT_FOUND: Kind(404, "There is no such thing"),
    FaultKind.CONFLICT: Kind(409, "This is taken already"),
    FaultKind.RATE_LIMITED: Kind(429, "Too many requests"),
    FaultKind.OVERLOADED: Kind(503, "The node is overloaded"),
    FaultKind.STORAGE_FULL: Kind(507, "The storage is full"),
    FaultKind.STORAGE_BUSY: Kind(503, "The storage is busy"),
    FaultKind.UNAVAILABLE: Kind(503, "The node is not available"),
    FaultKind.INTERNAL: Kind(500, "The node failed"),
}

_BY_STATUS: Final[Mapping[int, FaultKind]] = {
    401: FaultKind.UNAUTHENTICATED,
    403: FaultKind.FORBIDDEN,
    404: FaultKind.NOT_FOUND,
    405: FaultKind.NOT_FOUND,
    412: FaultKind.OUT_OF_TURN,
    413: FaultKind.TOO_LARGE,
    415: FaultKind.UNSUPPORTED_MEDIA,
    429: FaultKind.RATE_LIMITED,
    503: FaultKind.UNAVAILABLE,
}


@dataclass(frozen=True, slots=True)
class Problem:
    """An answer that says what went wrong; `status` is given for 405, 412 and 422 only."""

    fault: FaultKind
    detail: str
    status: int = 0
    retry_after_ms: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def http_status(self) -> int:
        """The status of the answer."""
        return self.status or KINDS[self.fault].status

    def body(self, request_id: str) -> bytes:
        """Return the JSON document; `instance` names the request as the logs do."""
        document: dict[str, Any] = {
            "type": TYPE_PREFIX + self.fault,
            "title": KINDS[self.fault].title,
            "status": self.http_status,
            "detail": self.detail,
            "instance": REQUEST_PREFIX + request_id,
            "fault": self.fault,
            "retry_after_ms": self.retry_after_ms,
            **self.extra,
        }
        return msgspec.json.encode(document)

    def all_headers(self) -> dict[str, str]:
        """Return the answer's headers, in lower case and without its length."""
        headers = {"content-type": MEDIA_TYPE, "cache-control": "no-store", **self.headers}
        if self.retry_after_ms is not None:
            headers["retry-after"] = str(max(1, math.ceil(self.retry_after_ms / 1_000)))
        if self.fault is FaultKind.UNAUTHENTICATED:
            headers["www-authenticate"] = 'Bearer realm="skerry"'
        return headers


class ProblemError(Exception):
    """Raised by controllers that need more than an EdgeError says: another status, more members."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


def problem_of(error: Exception) -> Problem | None:
    """Translate an error that a request can meet; None: it is unforeseen and has to be logged."""
    if isinstance(error, ProblemError):
        return error.problem
    if isinstance(error, EdgeError):
        return _of_node(error)
    if isinstance(error, ProtocolError):
        return Problem(error.kind, error.message)
    if isinstance(error, Refusal):
        return Problem(FaultKind.MALFORMED, error.message)
    if isinstance(error, msgspec.DecodeError):  # ValidationError is one of them
        return Problem(FaultKind.MALFORMED, f"{error!s:.200}")
    if isinstance(error, HTTPException) and error.status_code < 500:  # noqa: PLR2004
        return _of_framework(error)
    return None


def fault_of(error: Exception) -> Fault:
    """Translate an error into the message that a stream is told; `internal` when unforeseen."""
    problem = problem_of(error) or unforeseen()
    return Fault(
        fault=problem.fault,
        message=problem.detail,
        retry_after_ms=problem.retry_after_ms,
        merged_through=problem.extra.get("merged_through"),
        database=problem.extra.get("database", ""),
    )


def unforeseen() -> Problem:
    """Return the answer to an error that nobody foresaw; it says nothing about the error."""
    return Problem(
        FaultKind.INTERNAL, "The node could not serve this request.", retry_after_ms=5_000
    )


def _of_node(error: EdgeError) -> Problem:
    extra: dict[str, Any] = {}
    retry_after_ms = error.retry_after_ms
    if isinstance(error, CounterGap):
        extra |= {"merged_through": error.merged_through, "database": error.database}
    elif isinstance(error, ClonedDevice):
        extra["database"] = error.database
    elif isinstance(error, ClockApart):
        extra["now_unix_s"] = error.now_unix_s
    elif isinstance(error, InvalidGrant):
        extra["error"] = "invalid_grant"  # as OAuth clients expect it (RFC 6749, section 5.2)
    elif isinstance(error, RateLimited):
        retry_after_ms = error.delay_ms
    return Problem(error.fault, error.message, retry_after_ms=retry_after_ms, extra=extra)


def _of_framework(error: HTTPException) -> Problem:
    fault = _BY_STATUS.get(error.status_code, FaultKind.MALFORMED)
    detail = {404: "There is nothing at this address.", 405: "This method is not offered here."}
    return Problem(
        fault,
        detail.get(error.status_code, f"{error.detail!s:.200}"),
        status=error.status_code,
        headers={name.lower(): value for name, value in (error.headers or {}).items()},
    )
