"""Mail on its way out: posted at once, sent behind the caller's back, tried again when it helps.

Invariants
  B1  `post` neither waits nor tells what becomes of a mail: no answer and no delay of ours says
      whether an address has an account
  B2  at most MAILS_WAITING_MAX mails are held; one more is dropped
  B3  no log line holds an address, a subject or a text

Every mail is a task of its own, so a mail that waits for its next attempt keeps no other one from
being sent. Mails are held in memory: those that a stopping node cannot send are lost, and people
ask for another code. Only the writing process makes and starts a mailer.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import stamina
import structlog

from edge.ports.mail import MailFailed

if TYPE_CHECKING:
    from edge.ports.mail import Mail, MailTransport

MAILS_WAITING_MAX: Final = 1_000
"""A few MB; more than a mail server takes within the life of a code."""
CONNECTIONS_MAX: Final = 4
"""What submission servers allow one client at a time without slowing it down."""
ATTEMPTS_MAX: Final = 5
"""With the waits below, some two minutes: a code that comes later than that is of no use."""
RETRIES_S_MAX: Final = 300.0
"""No attempt begins later than this after the first one; a code lives some ten minutes."""
LIFE_S_MAX: Final = 600.0
"""A mail that found no connection for so long is given up: its code has ended."""
WAIT_INITIAL_S: Final = 4.0
WAIT_S_MAX: Final = 60.0
WAIT_JITTER_S: Final = 2.0
"""Spreads the retries of mails that failed together."""
DRAIN_S_MAX: Final = 5.0
"""How long a stopping node waits for mails; service managers kill after some ten seconds."""

_log = structlog.stdlib.get_logger(__name__)


class Mailer:
    """Sends mails in the background and closes its transport; `sent`, `failed`, `dropped` count.

    `failed` mails were refused or tried in vain; `dropped` ones found no room, no running mailer,
    or the node stopping.
    """

    def __init__(
        self,
        transport: MailTransport,
        *,
        waiting_max: int = MAILS_WAITING_MAX,
        attempts_max: int = ATTEMPTS_MAX,
        life_s_max: float = LIFE_S_MAX,
        wait_initial_s: float = WAIT_INITIAL_S,
        wait_jitter_s: float = WAIT_JITTER_S,
        drain_s_max: float = DRAIN_S_MAX,
    ) -> None:
        self._transport = transport
        self._waiting_max = waiting_max
        self._drain_s_max = drain_s_max
        self._life_s_max = life_s_max
        # Stamina logs the arguments of what it calls: only the exception may reach it (B3).
        self._retrying = stamina.AsyncRetryingCaller(
            attempts=attempts_max,
            timeout=RETRIES_S_MAX,
            wait_initial=wait_initial_s,
            wait_max=WAIT_S_MAX,
            wait_jitter=wait_jitter_s,
        )
        self._connections = asyncio.Semaphore(CONNECTIONS_MAX)
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_open = False
        self.sent = 0
        self.failed = 0
        self.dropped = 0

    @property
    def waiting(self) -> int:
        """How many mails are neither sent nor given up."""
        return len(self._tasks)

    def start(self) -> None:
        """Take mails from now on; called on the running loop."""
        self._is_open = True

    def post(self, mail: Mail) -> None:
        """Take a mail to be sent soon, or drop it (B1)."""
        if not self._is_open or len(self._tasks) >= self._waiting_max:
            self.dropped += 1
            reason = "too many wait" if self._is_open else "the mailer does not run"
            _log.warning("mail-dropped", reason=reason, dropped=self.dropped)
            return
        task = asyncio.create_task(self._deliver(mail), name="mail")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Take no more mails, wait some seconds for those on their way, drop the rest."""
        self._is_open = False
        tasks = set(self._tasks)
        if tasks:
            _, unfinished = await asyncio.wait(tasks, timeout=self._drain_s_max)
            for task in unfinished:
                task.cancel()
            await asyncio.gather(*unfinished, return_exceptions=True)
            if unfinished:
                self.dropped += len(unfinished)
                _log.warning("mails-dropped", reason="the node stops", count=len(unfinished))
        await self._transport.close()

    async def _deliver(self, mail: Mail) -> None:
        try:
            async with asyncio.timeout(self._life_s_max):
                await self._retrying(_helps_to_wait, self._attempt, mail)
        except MailFailed as error:
            self.failed += 1
            _log.warning("mail-failed", reason=error.message, is_permanent=error.is_permanent)
        except TimeoutError:
            self.failed += 1
            _log.warning("mail-failed", reason="it waited too long", is_permanent=False)
        except Exception as error:  # noqa: BLE001  (any other message may hold the address)
            self.failed += 1
            _log.error("mail-failed", reason=type(error).__name__, is_permanent=True)
        else:
            self.sent += 1

    async def _attempt(self, mail: Mail) -> None:
        async with self._connections:
            await self._transport.send(mail)


def _helps_to_wait(error: Exception) -> bool:
    return isinstance(error, MailFailed) and error.is_retryable
