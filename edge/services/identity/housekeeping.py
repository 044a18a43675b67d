"""Housekeeping of the control database and the vault: what has ended is dropped, in small steps."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from edge.errors import EdgeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.ports.identity_stores import ControlDatabase, ControlUnit, VaultDatabase
    from edge.services.identity.signing import Signing

INTERVAL_S: Final = 60.0
ROWS_PER_ROUND_MAX: Final = 1_000
ENDED_SESSIONS_KEPT_MS: Final = 30 * 24 * 3_600 * 1_000
"""A month, in which a person may ask why a phone was signed out."""
AUDIT_KEPT_MS: Final = 400 * 24 * 3_600 * 1_000
"""A year and a month, so that yearly reviews overlap."""
KEYS_KEPT_MS: Final = 31 * 24 * 3_600 * 1_000
"""Longer than any token signed with a key can live."""
_log = structlog.stdlib.get_logger(__name__)


class Housekeeping:
    """Runs beside the writer."""

    def __init__(
        self,
        control: ControlDatabase,
        vault: VaultDatabase,
        signing: Signing,
        *,
        now_ms: Callable[[], int],
    ) -> None:
        self._control = control
        self._vault = vault
        self._signing = signing
        self._now_ms = now_ms
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start on the running loop."""
        self._task = asyncio.create_task(self._work(), name="identity-housekeeping")

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def run_once(self) -> None:
        """Do one round."""
        now_ms = self._now_ms()

        def work(unit: ControlUnit) -> list[str]:
            unit.sessions.trim(before_ms=now_ms - ENDED_SESSIONS_KEPT_MS, limit=ROWS_PER_ROUND_MAX)
            unit.revocations.trim(now_s=now_ms // 1_000)
            unit.audit.trim(before_ms=now_ms - AUDIT_KEPT_MS, limit=ROWS_PER_ROUND_MAX)
            return self._signing.retire(unit, before_ms=now_ms - KEYS_KEPT_MS)

        await self._signing.forget(await self._control.write(work))
        await self._vault.write(
            lambda unit: unit.flows.trim(now_ms=now_ms, limit=ROWS_PER_ROUND_MAX)
        )

    async def _work(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_S)
            try:
                await self.run_once()
            except EdgeError as error:
                _log.warning("identity-housekeeping-postponed", reason=error.message)
