"""Errors of the node: each carries a fault kind, a message for people and a retry hint.

    EdgeError
    ├── Unauthenticated, Forbidden, UnknownTenant, UnknownDevice, NotFound, Conflict
    ├── InvalidGrant                      a credential, code or refresh token that is worth nothing
    ├── StepUpNeeded                      the person must prove again who they are
    ├── ClockApart                        a proof made at another time; carries the node's time
    ├── ClonedDevice, CounterGap, CursorUnknown
    ├── ProtocolVersion, WrongApp, SchemaAhead, SchemaTooOld
    ├── InvalidQuery                      a REST read that cannot be answered as asked
    ├── ConstraintViolated                inside the node only: the database refused a statement
    └── RateLimited, Overloaded, StorageFull, StorageBusy, Unavailable   (retryable)

Controllers translate them once, in `edge.problems`.
"""

from __future__ import annotations

from typing import ClassVar

from sync_protocol.faults import FaultKind


class EdgeError(Exception):
    """Root of every error the node raises for a request it cannot serve."""

    fault: ClassVar[FaultKind] = FaultKind.INTERNAL
    retry_after_ms: ClassVar[int | None] = None

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    @property
    def is_retryable(self) -> bool:
        """Whether sending the same request later can help."""
        return self.retry_after_ms is not None


class Unauthenticated(EdgeError):
    """No token, or one that this node does not take."""

    fault = FaultKind.UNAUTHENTICATED


class Forbidden(EdgeError):
    """The person is known and may not do this."""

    fault = FaultKind.FORBIDDEN


class UnknownTenant(EdgeError):
    """The token's tenant is not served here."""

    fault = FaultKind.UNKNOWN_TENANT


class UnknownDevice(EdgeError):
    """The device number is not one of this person's: the device says hello again."""

    fault = FaultKind.UNKNOWN_DEVICE


class NotFound(EdgeError):
    """There is no such thing for this person."""

    fault = FaultKind.NOT_FOUND


class Conflict(EdgeError):
    """The thing that is to be made is there already, or has changed meanwhile."""

    fault = FaultKind.CONFLICT


class InvalidGrant(EdgeError):
    """What was presented to sign in or to stay signed in is worth nothing: sign in again."""

    fault = FaultKind.INVALID_GRANT


class StepUpNeeded(EdgeError):
    """The operation is dangerous and the last proof of identity is too old."""

    fault = FaultKind.STEP_UP_NEEDED


class ClockApart(EdgeError):
    """A proof says it was made at another time than now; `now_unix_s` is the node's clock."""

    fault = FaultKind.CLOCK_APART

    def __init__(self, message: str, *, now_unix_s: int) -> None:
        super().__init__(message)
        self.now_unix_s = now_unix_s


class ClonedDevice(EdgeError):
    """One identity, two different mutations, by `database`: the phone was restored or copied."""

    fault = FaultKind.CLONED_DEVICE

    def __init__(self, message: str, *, database: str) -> None:
        super().__init__(message)
        self.database = database


class CounterGap(EdgeError):
    """Mutations are missing before this push; `merged_through` is what `database` has."""

    fault = FaultKind.COUNTER_GAP

    def __init__(self, message: str, *, merged_through: int, database: str) -> None:
        super().__init__(message)
        self.merged_through = merged_through
        self.database = database


class CursorUnknown(EdgeError):
    """The cursor is of another database, or from this one's future."""

    fault = FaultKind.CURSOR_UNKNOWN


class ProtocolVersion(EdgeError):
    """The device speaks another version of the sync protocol."""

    fault = FaultKind.PROTOCOL_VERSION


class WrongApp(EdgeError):
    """The device runs another app than this node serves."""

    fault = FaultKind.WRONG_APP


class SchemaAhead(EdgeError):
    """The device's schema is newer than the node's: the node is to be upgraded first."""

    fault = FaultKind.SCHEMA_AHEAD
    retry_after_ms = 60_000


class SchemaTooOld(EdgeError):
    """The device's schema is older than the app takes any more: the app is to be updated."""

    fault = FaultKind.SCHEMA_TOO_OLD


class InvalidQuery(EdgeError):
    """A filter, sort, page or field that cannot be used."""

    fault = FaultKind.MALFORMED


class ConstraintViolated(EdgeError):
    """A statement broke an index of the schema; ingest turns it into a rejection."""


class RateLimited(EdgeError):
    """Too many requests of this kind; the next one is admitted after `delay_ms`."""

    fault = FaultKind.RATE_LIMITED

    def __init__(self, message: str, *, delay_ms: int) -> None:
        super().__init__(message)
        self.delay_ms = delay_ms

    @property
    def is_retryable(self) -> bool:
        """Waiting always helps."""
        return True


class Overloaded(EdgeError):
    """A bounded queue is full."""

    fault = FaultKind.OVERLOADED
    retry_after_ms = 1_000


class StorageFull(EdgeError):
    """The disk is full: nothing of the request was taken."""

    fault = FaultKind.STORAGE_FULL
    retry_after_ms = 30_000


class StorageBusy(EdgeError):
    """The database is locked by another process: nothing of the request was taken."""

    fault = FaultKind.STORAGE_BUSY
    retry_after_ms = 1_000


class Unavailable(EdgeError):
    """The node is starting, stopping or cut off."""

    fault = FaultKind.UNAVAILABLE
    retry_after_ms = 2_000
