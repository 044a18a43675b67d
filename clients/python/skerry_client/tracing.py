"""The header that lets a node's spans join a trace of the phone's: W3C traceparent, version 00.

It holds random numbers and nothing about the person. A stream carries one for its whole life, since
the messages on it have no headers.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

Traceparent: TypeAlias = "Callable[[], str | None]"
"""Gives the header of the next request, or None for none: `fresh_traceparent` or the app's own."""


def fresh_traceparent() -> str:
    """Return the header of a new, sampled trace."""
    # All zeros are not valid, and are never drawn: 2**-64.
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


def traced(headers: dict[str, str], traceparent: Traceparent | None) -> dict[str, str]:
    """Return headers with the trace named, or as they are."""
    named = None if traceparent is None else traceparent()
    return headers if named is None else {**headers, "traceparent": named}
