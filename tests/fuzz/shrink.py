"""Shrinking: the shortest input found that fails in the same way, for a regression file."""

from __future__ import annotations

import traceback
from typing import Final

from tests.fuzz.target import Target
from tests.fuzz.work import TooMuchWork, bounded

TRIES_MAX: Final = 5_000
"""Runs spent on one input; enough for a kilobyte."""
Failure = tuple[str, str, int]
"""The error's type, and the file and line of ours that it came out of."""


def failure_of(target: Target, content: bytes) -> Failure | None:
    """Run a target; return how it fails, or None."""
    try:
        with bounded(len(content)):
            target.run(content)
    except (Exception, TooMuchWork) as error:  # noqa: BLE001  (any error is the finding)
        last = traceback.extract_tb(error.__traceback__)[-1]
        return type(error).__name__, last.filename, last.lineno or 0
    return None


def shrunk(target: Target, content: bytes) -> bytes:
    """Cut pieces out, from halves to single bytes, then set bytes to zero, while it fails alike."""
    wanted = failure_of(target, content)
    if wanted is None:
        return content
    tries, size = 0, max(len(content) // 2, 1)
    while size and tries < TRIES_MAX:
        start, is_shorter = 0, False
        while start < len(content) and tries < TRIES_MAX:
            tries += 1
            candidate = content[:start] + content[start + size :]
            if failure_of(target, candidate) == wanted:
                content, is_shorter = candidate, True
            else:
                start += size
        if not is_shorter:
            size //= 2
    for place in range(min(len(content), TRIES_MAX)):
        candidate = content[:place] + b"\x00" + content[place + 1 :]
        if failure_of(target, candidate) == wanted:
            content = candidate
    return content
