"""A tape: bytes read as a sequence of small choices, by targets that drive state machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

T = TypeVar("T")

_EDGES: Final = (2**31, 2**32 - 1, 2**52, 2**53 - 2, 2**53 - 1)


class Tape:
    """Bytes from left to right; a tape that has ended gives zeros."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        """Whether every byte has been read."""
        return self._at >= len(self._content)

    def byte(self) -> int:
        """Read one byte."""
        read = self.take(1)
        return read[0] if read else 0

    def take(self, count: int) -> bytes:
        """Read up to `count` bytes as they are."""
        read = self._content[self._at : self._at + count]
        self._at += count
        return read

    def flag(self) -> bool:
        """Read a byte as true or false."""
        return self.byte() % 2 == 1

    def pick(self, options: Sequence[T]) -> T:
        """Read a byte as one of a few options."""
        return options[self.byte() % len(options)]

    def number(self) -> int:
        """Read a byte as a number, small or at an edge of what the wire takes."""
        read = self.byte()
        return read if read < 256 - len(_EDGES) else _EDGES[read - 256]
