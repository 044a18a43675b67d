"""What repositories need of a database: statements with parameters, inside one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

T = TypeVar("T")
SqlRow = tuple[Any, ...]


class SqlReader(Protocol):
    """Reads in one snapshot."""

    def all(self, sql: str, parameters: Sequence[Any] = ()) -> list[SqlRow]:
        """Return every row of a bounded query."""
        ...

    def one(self, sql: str, parameters: Sequence[Any] = ()) -> SqlRow | None:
        """Return the first row, or None."""
        ...


class SqlWriter(SqlReader, Protocol):
    """Reads and writes in one transaction, which commits when the unit of work returns."""

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Execute one statement and return how many rows it changed."""
        ...

    def many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Execute one statement per row of parameters."""
        ...


class SqlEngine(Protocol):
    """One database. Units of work are plain functions that run off the event loop, one hop each.

    Both methods raise StorageFull or StorageBusy (edge.errors) and leave the database unchanged.
    """

    async def read(self, work: Callable[[SqlReader], T]) -> T:
        """Run `work` on a snapshot."""
        ...

    async def write(self, work: Callable[[SqlWriter], T]) -> T:
        """Run `work` in the one write transaction; commit durably on return, roll back on raise."""
        ...

    async def scrub(self) -> bool:
        """Leave no trace of deleted content in the database's files.

        Costs a rewrite of the whole file, during which writes wait. Returns False when a reader in
        another process kept the log of older pages from being emptied: try again later.
        """
        ...

    async def close(self) -> None:
        """Checkpoint and close; later calls raise Unavailable."""
        ...
