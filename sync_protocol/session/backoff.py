"""Back-off with full jitter (Brooker 2015, "Exponential backoff and jitter", AWS blog)."""

from __future__ import annotations

from typing import Final

BACKOFF_BASE_MS: Final = 500
BACKOFF_MAX_MS: Final = 60_000
"""A phone in a tunnel is back within a minute of its end."""
_DOUBLINGS_MAX: Final = 7
"""500 ms doubled seven times is 64 s, above the cap; larger exponents change nothing."""


def backoff_ms(attempt: int, jitter: float) -> int:
    """Return the delay before attempt `attempt` (0, 1, ...); `jitter` is uniform in [0, 1)."""
    ceiling = min(BACKOFF_MAX_MS, BACKOFF_BASE_MS << min(max(attempt, 0), _DOUBLINGS_MAX))
    return int(ceiling * min(max(jitter, 0.0), 1.0))
