"""The garbage collector stands still while a group commits.

A commit of 10,000 mutations makes hundreds of thousands of short-lived objects without cycles; the
collector would look at them again and again and find nothing.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

_lock = Lock()
_pauses = 0
"""Commits under way, over all tenants of this process."""
_was_enabled = False
"""Whether the first of them found the collector switched on."""


@contextmanager
def paused_collector() -> Generator[None]:
    """Switch the collector off until the last commit under way has ended, if it was on."""
    global _pauses, _was_enabled  # noqa: PLW0603  (one collector per process)
    with _lock:
        if _pauses == 0:
            _was_enabled = gc.isenabled()
        _pauses += 1
        gc.disable()
    try:
        yield
    finally:
        with _lock:
            _pauses -= 1
            if _pauses == 0 and _was_enabled:
                gc.enable()
