"""An edge's reports: how far it has read, several times a second, and what it hears in return."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from core.fleet import Leadership
from edge.errors import EdgeError
from edge.services.fleet.lag import REPORT_EVERY_MS, Position
from edge.services.fleet.messages import ReportBody

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge.services.fleet.follower import Follower
    from edge.services.fleet.lag import Lag
    from edge.services.fleet.leading import Leading
    from edge.services.fleet.messages import HeardBody
    from edge.services.fleet.primary_link import PrimaryLink
    from edge.services.node import Node

ACKNOWLEDGED_PER_REPORT_MAX: Final = 20_000
"""Cursors told at once, some 300 KB; the rest comes with the next report."""
_log = structlog.stdlib.get_logger(__name__)


class Replicated:
    """What the primary has said is replicated, by tenant and database."""

    def __init__(self) -> None:
        self._by_tenant: dict[str, tuple[str, int]] = {}

    def of(self, tenant: str, database: str) -> int:
        """Return up to which sequence of a database commits outlive the primary."""
        known, sequence = self._by_tenant.get(tenant, ("", 0))
        return sequence if known == database else 0

    def take(self, tenant: str, database: str, sequence: int) -> bool:
        """Note what was said; tell whether it is news. It never goes back for one database."""
        if self._by_tenant.get(tenant, ("", 0)) >= (database, sequence) and (
            self._by_tenant[tenant][0] == database
        ):
            return False
        self._by_tenant[tenant] = (database, sequence)
        return True


class Reporter:
    """Reports to the primary for as long as it runs."""

    def __init__(
        self,
        node: Node,
        link: PrimaryLink,
        follower: Follower,
        *,
        lag: Lag,
        leading: Leading,
        replicated: Replicated,
        status: Callable[[], Mapping[str, float]],
        now_ms: Callable[[], int],
        on_heard: Callable[[], None],
    ) -> None:
        self._node = node
        self._link = link
        self._follower = follower
        self._lag = lag
        self._leading = leading
        self._replicated = replicated
        self._status = status
        self._now_ms = now_ms
        self._on_heard = on_heard
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start reporting on the running loop."""
        self._task = asyncio.create_task(self._report(), name="reporter")

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def report_once(self) -> None:
        """Send one report and take what comes back; raises what the link raises."""
        sequences = self._follower.sequences()
        sent_ms = self._now_ms()
        report = ReportBody(
            self._leading.known().epoch,
            sequences,
            await self._acknowledged(),
            dict(self._status()),
        )
        heard = await self._link.report(report)
        self._lag.heard(
            {name: Position(*position) for name, position in heard.sequences.items()},
            at_ms=sent_ms,
        )
        await self._take_replicated(heard)
        self._on_heard()
        await self._leading.hear(Leadership(heard.epoch, heard.node, heard.url, heard.grpc_url))

    async def _report(self) -> None:
        while True:
            try:
                await self.report_once()
            except EdgeError as error:
                # The breaker and the metrics tell of it too; the next report is due soon.
                _log.debug("not-reported", reason=error.message)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                # Somebody else's call was given up inside a report: that ends no reporter.
                _log.warning("report-given-up")
            except Exception:  # noqa: BLE001  (reports go on, whatever one of them meets)
                _log.exception("report-failed")
            await asyncio.sleep(REPORT_EVERY_MS / 1_000)

    async def _take_replicated(self, heard: HeardBody) -> None:
        served = set(self._node.tenants())
        for name in served & heard.replicated.keys() & heard.sequences.keys():
            database, _ = heard.sequences[name]
            if self._replicated.take(name, database, heard.replicated[name]):
                (await self._node.tenant(name)).live.replicated_moved()

    async def _acknowledged(self) -> dict[str, dict[int, int]]:
        """Return the cursors of phones noted since the last report.

        They are lost with a report that fails: tombstones are collected later then, not too early.
        """
        found: dict[str, dict[int, int]] = {}
        room = ACKNOWLEDGED_PER_REPORT_MAX
        for name in self._node.tenants():
            if room <= 0:
                break
            noted = (await self._node.tenant(name)).maintenance.take_acknowledged()
            if noted:
                found[name] = noted
                room -= len(noted)
        return found
