"""What another node has refused, as the error that it names."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

from core.ids import INTEGER_MAX
from edge import errors
from edge.errors import ClockApart, ClonedDevice, CounterGap, EdgeError, RateLimited, Unavailable
from sync_protocol.errors import MalformedMessage, ProtocolError
from sync_protocol.faults import FaultKind

DELAY_MS_MAX: Final = 3_600_000
"""No limit of a node's tells anybody to wait longer."""
_PLAIN: Final[dict[FaultKind, type[EdgeError]]] = {
    kind.fault: kind
    for kind in (
        errors.Unauthenticated,
        errors.Forbidden,
        errors.UnknownTenant,
        errors.UnknownDevice,
        errors.NotFound,
        errors.Conflict,
        errors.InvalidGrant,
        errors.StepUpNeeded,
        errors.CursorUnknown,
        errors.ProtocolVersion,
        errors.WrongApp,
        errors.SchemaAhead,
        errors.SchemaTooOld,
        errors.Overloaded,
        errors.StorageFull,
        errors.StorageBusy,
        errors.Unavailable,
        errors.EdgeError,
    )
}
_Number = Annotated[int, msgspec.Meta(ge=0, le=INTEGER_MAX)]


class _Document(msgspec.Struct):
    fault: FaultKind
    detail: Annotated[str, msgspec.Meta(max_length=4_096)]
    retry_after_ms: _Number | None = None
    merged_through: _Number = 0
    database: Annotated[str, msgspec.Meta(max_length=64)] = ""
    now_unix_s: _Number = 0


_decode = msgspec.json.Decoder(_Document).decode


def told(body: bytes) -> EdgeError | ProtocolError:
    """Turn another node's problem document into the error it stands for.

    Whatever is not one is Unavailable: something between the nodes has answered.
    """
    try:
        document = _decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return Unavailable("The other node answers nonsense.")
    plain = _PLAIN.get(document.fault)
    if plain is not None:
        return plain(document.detail)
    return _with_more(document)


def _with_more(document: _Document) -> EdgeError | ProtocolError:
    more: Any = {
        FaultKind.COUNTER_GAP: lambda: CounterGap(
            document.detail,
            merged_through=document.merged_through,
            database=document.database,
        ),
        FaultKind.CLONED_DEVICE: lambda: ClonedDevice(document.detail, database=document.database),
        FaultKind.CLOCK_APART: lambda: ClockApart(document.detail, now_unix_s=document.now_unix_s),
        FaultKind.RATE_LIMITED: lambda: RateLimited(
            document.detail, delay_ms=min(document.retry_after_ms or 1_000, DELAY_MS_MAX)
        ),
    }.get(document.fault)
    return MalformedMessage(document.detail) if more is None else more()
