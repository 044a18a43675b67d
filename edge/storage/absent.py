"""A database that is not on this node: an edge has no vault."""

from __future__ import annotations

from typing import TYPE_CHECKING, Never

from edge.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.ports.sql import SqlReader, SqlWriter


class AbsentEngine:
    """An SqlEngine that refuses everything with one reason."""

    def __init__(self, why: str) -> None:
        self._why = why

    async def open(self) -> None:
        """Do nothing."""

    async def read(self, work: Callable[[SqlReader], object]) -> Never:
        """Refuse."""
        raise Unavailable(self._why)

    async def write(self, work: Callable[[SqlWriter], object]) -> Never:
        """Refuse."""
        raise Unavailable(self._why)

    async def scrub(self) -> bool:
        """Do nothing: there are no traces."""
        return True

    async def close(self) -> None:
        """Do nothing."""
