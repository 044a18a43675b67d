"""One phone of the fleet's demonstration: signed in at its own edge, syncing in the background.

It obeys lines of JSON as `phone.py` does. Moments (`at`) are those of the machine's monotonic
clock, which all processes share.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app import app
from phone import Phone, obey, tell

from skerry_client import Account, Skerry

if TYPE_CHECKING:
    from collections.abc import Callable

LOOK_AGAIN_S = 0.01
"""Rows are looked at after every change; a receipt changes none, so this often besides."""


class FleetPhone(Phone):
    """A phone whose person is signed in by this device alone."""

    def __init__(self, path: Path, *, url: str) -> None:
        self._account = Account(url, path.with_suffix(".account.json"))
        self._changed = asyncio.Event()
        super().__init__(path, url=url, token="")
        self._database.listen(self._note_change)
        self._loop = asyncio.get_running_loop()

    async def sign_in(self) -> str:
        """Make an account at the phone's own edge and return the person's id."""
        return await self._account.sign_in_anonymously()

    async def refresh(self) -> float:
        """Refresh the access token; return how many milliseconds it took."""
        before = await self._account.token()
        started = time.monotonic()
        after = await self._account.token(refused=before)
        assert after != before
        return (time.monotonic() - started) * 1_000

    async def connect(self, *, rows: int, seconds: float) -> bool:
        """Keep a stream up from now on; True once it is, and so many airfields are here."""
        await self._database.connect()

        def holds_all() -> bool:
            status = self._database.status
            return status.is_connected and status.is_current and self.count() == rows

        return await self._until(holds_all, seconds)

    async def see(self, *, id: str, fields: dict[str, Any], seconds: float) -> float | None:  # noqa: A002
        """Return when fields of an airfield had these values, or None when they never had."""

        def is_seen() -> bool:
            row = self.read(collection="airfield", id=id) or {}
            return all(row.get(name) == value for name, value in fields.items())

        return time.monotonic() if await self._until(is_seen, seconds) else None

    async def judged(self, *, outcome: str, seconds: float) -> float | None:
        """Return when everything written had this outcome ("" is: none waits any more), or None."""

        def is_judged() -> bool:
            waiting = self._database.pending()
            if not outcome:
                return not waiting
            return bool(waiting) and all(queued.outcome == outcome for queued in waiting)

        return time.monotonic() if await self._until(is_judged, seconds) else None

    def write(self, *, command: dict[str, Any]) -> float:
        """Edit an airfield; return when it was begun."""
        at = time.monotonic()
        self.edit(collection=command["collection"], id=command["id"], fields=command["fields"])
        return at

    def look(self, *, id: str) -> dict[str, Any]:  # noqa: A002
        """Return what a person sees of an airfield, and how sure that is."""
        declared = app.collections["airfield"]
        return {
            "row": self.read(collection="airfield", id=id),
            "is_provisional": self._database.is_provisional(declared, id),
            "waiting": [queued.outcome or "unsent" for queued in self._database.pending()],
        }

    def count(self) -> int:
        """Return how many airfields this phone shows."""
        return len(self._database.rows(app.collections["airfield"]))

    async def close(self) -> None:
        """Close the file; the person stays signed in."""
        await super().close()
        await self._account.close()

    def _open(self, url: str | None) -> Skerry:
        return Skerry(self._path, app, url=url, token=self._account.token)

    def _note_change(self, _collections: frozenset[str]) -> None:
        self._loop.call_soon_threadsafe(self._changed.set)

    async def _until(self, condition: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            try:
                async with asyncio.timeout(min(left, LOOK_AGAIN_S)):
                    await self._changed.wait()
            except TimeoutError:
                pass
            self._changed.clear()
        return True


async def main() -> None:
    """Obey until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--url", required=True)
    arguments = parser.parse_args()
    phone = FleetPhone(arguments.path, url=arguments.url)
    try:
        while line := await asyncio.to_thread(sys.stdin.readline):
            tell(await obey(phone, line))
    finally:
        await phone.close()


if __name__ == "__main__":
    asyncio.run(main())
