"""What a device does about each kind of fault; docs/PROTOCOL.md shows the same table."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from sync_protocol.faults import FaultKind


class Reaction(StrEnum):
    """What a device does next. In none of them does it drop a mutation that has no receipt."""

    RETRY = "retry"
    """Send the same request again after `retry_after_ms`, or after the back-off."""
    SHRINK = "shrink"
    """Halve the mutations per push and push again; a single one that is too large stops."""
    RESEND = "resend"
    """Push again from `merged_through` + 1; when the gap stays, renew."""
    GREET = "greet"
    """Connect again and say hello."""
    RENEW = "renew"
    """Take a new installation id, number the queue from 1, connect again and say hello."""
    RESET_READ = "reset-read"
    """Drop the cursor and pull from zero."""
    PULL = "pull"
    """Give up the repair and pull a round."""
    SIGN_IN = "sign-in"
    """Get a new token, then connect again."""
    STOP = "stop"
    """Sync stops until the app or its configuration changes; people are told."""


REACTIONS: Final[dict[FaultKind, Reaction]] = {
    FaultKind.MALFORMED: Reaction.STOP,
    FaultKind.TOO_LARGE: Reaction.SHRINK,
    FaultKind.UNSUPPORTED_MEDIA: Reaction.STOP,
    FaultKind.UNKNOWN_MESSAGE: Reaction.STOP,
    FaultKind.OUT_OF_TURN: Reaction.GREET,
    FaultKind.PROTOCOL_VERSION: Reaction.STOP,
    FaultKind.WRONG_APP: Reaction.STOP,
    FaultKind.SCHEMA_AHEAD: Reaction.RETRY,
    FaultKind.SCHEMA_TOO_OLD: Reaction.STOP,
    FaultKind.UNAUTHENTICATED: Reaction.SIGN_IN,
    FaultKind.INVALID_GRANT: Reaction.SIGN_IN,
    FaultKind.STEP_UP_NEEDED: Reaction.STOP,
    FaultKind.CLOCK_APART: Reaction.RETRY,
    FaultKind.FORBIDDEN: Reaction.STOP,
    FaultKind.UNKNOWN_TENANT: Reaction.STOP,
    FaultKind.UNKNOWN_DEVICE: Reaction.GREET,
    FaultKind.CLONED_DEVICE: Reaction.RENEW,
    FaultKind.COUNTER_GAP: Reaction.RESEND,
    FaultKind.CURSOR_UNKNOWN: Reaction.RESET_READ,
    FaultKind.NOT_FOUND: Reaction.PULL,
    FaultKind.CONFLICT: Reaction.STOP,
    FaultKind.RATE_LIMITED: Reaction.RETRY,
    FaultKind.OVERLOADED: Reaction.RETRY,
    FaultKind.STORAGE_FULL: Reaction.RETRY,
    FaultKind.STORAGE_BUSY: Reaction.RETRY,
    FaultKind.UNAVAILABLE: Reaction.RETRY,
    FaultKind.INTERNAL: Reaction.RETRY,
}

ENDS_THE_STREAM: Final = frozenset(
    {Reaction.GREET, Reaction.RENEW, Reaction.SIGN_IN, Reaction.STOP}
)
"""Reactions after which nothing more is said on the link: servers close it after such a fault."""
