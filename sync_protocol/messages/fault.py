"""fault: a request that could not be served, with a closed kind and a retry hint."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from core.ids import INTEGER_MAX
from sync_protocol.faults import FaultKind
from sync_protocol.messages.base import Answer, Counter

Request = Literal["hello", "push", "pull", "repair"]


class Fault(Answer, tag="fault"):
    """`kind` is stable (docs/ERRORS.md); `retry_after_ms` None means: do not send this again.

    `answers` is the kind of request it answers (a stream may have a push and a pull open at once);
    None concerns the stream as a whole. `merged_through` comes with `counter-gap`:
    the device's highest contiguous counter with a final outcome. `database` comes with it and with
    `cloned-device`: whose word it is.
    """

    fault: FaultKind
    message: str
    retry_after_ms: Annotated[int, msgspec.Meta(ge=0, le=INTEGER_MAX)] | None = None
    answers: Request | None = None
    merged_through: Counter | None = None
    database: str = ""
