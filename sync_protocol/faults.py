"""Closed kinds of faults: what a request can be told instead of an answer."""

from __future__ import annotations

from enum import StrEnum


class FaultKind(StrEnum):
    """Stable names; docs/ERRORS.md says for each what the device does next."""

    MALFORMED = "malformed"
    TOO_LARGE = "too-large"
    UNSUPPORTED_MEDIA = "unsupported-media"
    UNKNOWN_MESSAGE = "unknown-message"
    OUT_OF_TURN = "out-of-turn"
    PROTOCOL_VERSION = "protocol-version"
    WRONG_APP = "wrong-app"
    SCHEMA_AHEAD = "schema-ahead"
    SCHEMA_TOO_OLD = "schema-too-old"
    UNAUTHENTICATED = "unauthenticated"
    INVALID_GRANT = "invalid-grant"
    STEP_UP_NEEDED = "step-up-needed"
    CLOCK_APART = "clock-apart"
    FORBIDDEN = "forbidden"
    UNKNOWN_TENANT = "unknown-tenant"
    UNKNOWN_DEVICE = "unknown-device"
    CLONED_DEVICE = "cloned-device"
    COUNTER_GAP = "counter-gap"
    CURSOR_UNKNOWN = "cursor-unknown"
    NOT_FOUND = "not-found"
    CONFLICT = "conflict"
    RATE_LIMITED = "rate-limited"
    OVERLOADED = "overloaded"
    STORAGE_FULL = "storage-full"
    STORAGE_BUSY = "storage-busy"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"
