"""The phones of the fleet's demonstration, each a process of its own at its region's edge."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from typing import TYPE_CHECKING, Any

from processes import HERE, LINE_BYTES_MAX, ROOT, PhoneProcess

if TYPE_CHECKING:
    from pathlib import Path


class FleetPhoneProcess(PhoneProcess):
    """One phone: a process, its file, the person who holds it, and the region they are in."""

    def __init__(self, person: str, path: Path, *, region: str, url: str) -> None:
        super().__init__(person, path, url=url, token="")
        self.region = region
        self._url = url

    async def start(self) -> None:
        """Start the process on the phone's file."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *(str(HERE / "fleet_phone.py"), str(self._path), "--url", self._url),
            cwd=ROOT,
            stdin=PIPE,
            stdout=PIPE,
            limit=LINE_BYTES_MAX,
        )

    async def expect(self, what: str, do: str, **arguments: Any) -> Any:  # noqa: ANN401  (JSON)
        """Give a command that waits for something; RuntimeError when it did not come."""
        answer = await self.ask(do, **arguments)
        if answer is None or answer is False:
            raise RuntimeError(f"{self.person.title()}'s phone in {self.region}: {what} never came")
        return answer
