"""Which test runs which line of the packages under test."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable
from types import CodeType, FrameType
from typing import Any

Line = tuple[str, int]
"""(file as the code object has it, line number)."""


class Tracer:
    """Records lines while it is on; a code object whose lines are all known is left alone."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = frozenset(paths)
        self._open: dict[CodeType, set[int] | None] = {}
        self._lines: set[Line] = set()

    def of(self, run: Callable[[], Any]) -> set[Line]:
        """Return the lines that a call runs, in all threads it starts."""
        self._open, self._lines = {}, set()
        threading.settrace(self._called)
        sys.settrace(self._called)
        try:
            run()
        finally:
            sys.settrace(None)
            threading.settrace(None)  # type: ignore[arg-type]
        return self._lines

    def _called(self, frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        if code not in self._open:
            is_wanted = code.co_filename in self._paths
            self._open[code] = {line for *_, line in code.co_lines() if line} if is_wanted else None
        left = self._open[code]
        if not left:
            return None
        left.discard(frame.f_lineno)
        self._lines.add((code.co_filename, frame.f_lineno))
        return self._ran

    def _ran(self, frame: FrameType, event: str, argument: Any) -> Any:
        line = frame.f_lineno
        left = self._open[frame.f_code]
        assert left is not None
        if line in left:
            left.discard(line)
            self._lines.add((frame.f_code.co_filename, line))
        return self._ran if left else None
