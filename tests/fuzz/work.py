"""Bounded work: an input may cost only so many lines of Python, whatever the machine's speed.

libFuzzer stops what hangs by the clock. A test may not, so the replay counts lines instead.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

LINES_MAX: Final = 200_000
"""For the input as such: a history through SQLite costs 20,000 lines, a message some hundred."""
LINES_PER_BYTE_MAX: Final = 1_000
"""For its size: what grows with the square of it shows in a few kilobytes."""


OURS: Final = tuple(
    f"{Path(__file__).parents[2] / name}/" for name in ("core", "sync_protocol", "edge", "tests")
)
"""Where lines are counted; those of libraries are theirs, and many."""


class TooMuchWork(BaseException):
    """The input costs more than it may. No handler of the tested code can take it for its own."""


@contextmanager
def bounded(size_bytes: int) -> Iterator[None]:
    """Raise TooMuchWork inside the context when an input of `size_bytes` costs too many lines."""
    left = LINES_MAX + LINES_PER_BYTE_MAX * size_bytes

    def count(frame: FrameType, event: str, _argument: object) -> Callable[..., Any] | None:
        nonlocal left
        if not frame.f_code.co_filename.startswith(OURS):
            return None
        if event == "line":
            left -= 1
            if left < 0:
                raise TooMuchWork
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        yield
    finally:
        sys.settrace(before)
