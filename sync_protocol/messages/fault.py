"""fault: a request that could not be served, with a closed kind and a retry hint."""

from __future__ import annotations

from sync_protocol.faults import FaultKind
from sync_protocol.messages.base import Counter, Message


class Fault(Message, tag="fault"):
    """`kind` is stable (docs/ERRORS.md); `retry_after_ms` None means: do not send this again.

    `merged_through` comes with `counter-gap` and `cloned-device`: the highest contiguous counter of
    the device with a final outcome.
    """

    fault: FaultKind
    message: str
    retry_after_ms: int | None = None
    merged_through: Counter | None = None
