"""Lets a process's wall clock be wrong: Python loads this first when the folder is on its path.

The file that SKERRY_CLOCK_FILE names holds the offset in milliseconds, and is read again when it
has changed. Clocks that never go back are left alone, as a real jump leaves them alone.
"""

import os
import time

PATH = os.environ.get("SKERRY_CLOCK_FILE", "")
_real_ns = time.time_ns


class _Offset:
    changed_ns = -1
    ns = 0


def _offset_ns():
    try:
        changed_ns = os.stat(PATH).st_mtime_ns  # noqa: PTH116  (pathlib would be loaded by all)
        if changed_ns != _Offset.changed_ns:
            with open(PATH, encoding="ascii") as file:  # noqa: PTH123
                _Offset.ns = int(file.read()) * 1_000_000
            _Offset.changed_ns = changed_ns
    except (OSError, ValueError):
        pass  # it is being written
    return _Offset.ns


if PATH:
    time.time_ns = lambda: _real_ns() + _offset_ns()
    time.time = lambda: time.time_ns() / 1e9
