"""The garbage collector, and when it had better wait."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator


@contextmanager
def collector_paused() -> Generator[None]:
    """Keep the cyclic garbage collector from running during the block.

    Decoding a page makes tens of thousands of lists and dicts that live until the page is stored.
    They are never part of a cycle, yet their number makes the collector scan them again and again,
    which took up to half of the time. Reference counts free them at the page's end all the same.
    Blocks of several threads may overlap: whoever found the collector enabled enables it again.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
