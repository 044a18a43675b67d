"""Telling people by mail that something was wrong with a session of theirs."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import structlog

from core.identity.accounts import CredentialKind
from edge.errors import EdgeError
from edge.services.identity import letters

if TYPE_CHECKING:
    from core.identity.sessions import Session
    from edge.ports.identity_stores import ControlDatabase, ControlUnit
    from edge.services.identity.mailer import Mailer

REPORTS_MAX: Final = 100
"""At once; beyond it the audit trail has to do."""
_log = structlog.stdlib.get_logger(__name__)


class Reports:
    """Writes to the person of a session that was ended because its token was used twice."""

    def __init__(self, control: ControlDatabase, mailer: Mailer, *, app_name: str) -> None:
        self._control = control
        self._mailer = mailer
        self._app_name = app_name
        self._tasks: set[asyncio.Task[None]] = set()

    def session_reused(self, session: Session) -> None:
        """Begin to tell; the caller does not wait."""
        _log.warning("session-reused", tenant=session.tenant, session=session.id)
        if len(self._tasks) < REPORTS_MAX:
            task = asyncio.create_task(self._tell(session))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Finish what was begun."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _tell(self, session: Session) -> None:
        def work(unit: ControlUnit) -> tuple[str, str]:
            found = unit.credentials.of_person(session.tenant, session.person)
            email = next((c.subject for c in found if c.kind == CredentialKind.EMAIL.value), "")
            device = unit.devices.get(session.tenant, session.device)
            return email, "" if device is None else device.name

        try:
            email, device = await self._control.read(work)
        except EdgeError as error:
            _log.warning("report-not-sent", reason=error.message)
            return
        if email:
            at = datetime.fromtimestamp(session.refreshed_ms / 1_000, tz=UTC)
            self._mailer.post(
                letters.session_ended(email, app_name=self._app_name, device_name=device, at=at)
            )
