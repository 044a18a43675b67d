"""Mail for development and tests: every mail becomes an .eml file, and none leaves the machine."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from email.headerregistry import Address
from typing import TYPE_CHECKING, Final

from edge.gateways.mail_message import to_message
from edge.ports.mail import MailFailed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge.ports.mail import Mail

MAILS_KEPT: Final = 500
"""A day of development; the files are a few hundred bytes each."""
_SENDER: Final = Address("Skerry", "no-reply", "skerry.invalid")


class MailFiles:
    """A folder of mails, readable by its owner only; see `edge.ports.mail.MailTransport`.

    A file is named after the Unix nanosecond at which it was written, so names sort by time.
    """

    def __init__(
        self,
        folder: Path,
        *,
        mails_kept: int = MAILS_KEPT,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._folder = folder
        self._mails_kept = mails_kept
        self._clock_ns = clock_ns
        self._newest_ns = 0
        self._lock = threading.Lock()

    async def send(self, mail: Mail) -> None:
        """Write one mail, whole or not at all, and remove the oldest beyond what is kept."""
        content = to_message(mail, sender=_SENDER).as_bytes()
        try:
            await asyncio.to_thread(self._write, content)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise MailFailed(f"the file was not written: {reason}", is_permanent=False) from None

    async def close(self) -> None:
        """Do nothing: every file is closed once it is written."""

    def _write(self, content: bytes) -> None:
        with self._lock:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            # A clock that stands still or goes back must not overwrite or reorder mails.
            self._newest_ns = max(self._newest_ns + 1, self._clock_ns())
            path = self._folder / f"{self._newest_ns:020d}.eml"
            partial = self._folder / ".mail.partial"
            partial.unlink(missing_ok=True)  # one that a crash left, with whatever mode
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            partial.replace(path)
            for old in sorted(self._folder.glob("*.eml"))[: -self._mails_kept]:
                old.unlink(missing_ok=True)
