"""Plain lines on the standard output: one thing a line, its values apart by tabs."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def print_lines(rows: Iterable[Iterable[object]]) -> None:
    """Print rows as they come; nothing in a value can end its line or steer the terminal."""
    for row in rows:
        sys.stdout.write("\t".join(plain(str(value)) for value in row) + "\n")


def plain(text: str) -> str:
    """Return a text with everything that is not printable escaped, and `-` for an empty one."""
    shown = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return "".join(shown) or "-"


def moment(unix_ms: int) -> str:
    """Return a time (Unix ms) as people and sort(1) read it."""
    whole = datetime.fromtimestamp(unix_ms / 1_000, UTC)
    return whole.isoformat(timespec="milliseconds").replace("+00:00", "Z")
