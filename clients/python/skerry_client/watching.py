"""Watching: who is told when collections change, and queries that answer again when they do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

    from skerry_client.store.reader import Reader

DEBOUNCE_SECONDS: Final = 0.02
"""A burst of edits is shown once; a person does not see twenty milliseconds."""


class Watching:
    """Listeners of one phone; `announce` may be called from any thread."""

    def __init__(self) -> None:
        self._listeners: dict[int, Callable[[frozenset[str]], None]] = {}
        self._next = 0
        self.loop: asyncio.AbstractEventLoop | None = None
        """The app's event loop, once there is one: listeners are called in its thread."""

    def join_loop(self) -> None:
        """Have listeners called in the running event loop's thread from now on."""
        self.loop = asyncio.get_running_loop()

    def listen(self, callback: Callable[[frozenset[str]], None]) -> Callable[[], None]:
        """Call back with the names of changed collections; return what ends it."""
        number = self._next = self._next + 1
        self._listeners[number] = callback

        def stop() -> None:
            self._listeners.pop(number, None)

        return stop

    def announce(self, touched: frozenset[str]) -> None:
        """Tell everybody which collections a commit has changed."""
        loop = self.loop
        if loop is None or loop.is_closed() or _running_loop() is loop:
            self._tell(touched)
        else:
            loop.call_soon_threadsafe(self._tell, touched)

    def _tell(self, touched: frozenset[str]) -> None:
        for callback in tuple(self._listeners.values()):
            callback(touched)

    async def live(
        self, reader: Reader, sql: str, arguments: Sequence[Any] | Mapping[str, Any]
    ) -> AsyncGenerator[list[sqlite3.Row]]:
        """Yield a query's rows now, and again after changes of a collection it reads."""
        tables = reader.tables_of(sql, arguments)
        changed = asyncio.Event()

        def notice(touched: frozenset[str]) -> None:
            if touched & tables:
                changed.set()

        self.join_loop()
        stop = self.listen(notice)
        try:
            while True:
                changed.clear()
                yield reader.query(sql, arguments)
                await changed.wait()
                await asyncio.sleep(DEBOUNCE_SECONDS)
        finally:
            stop()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
