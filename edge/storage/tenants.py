"""Tenants as files: one SQLite database each, in one folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from core.ids import TenantId, require_id
from edge.storage.sqlite import SqliteEngine

if TYPE_CHECKING:
    from pathlib import Path

SUFFIX = ".db"
BESIDE = ("-shm", "-wal", "-journal")
"""What SQLite keeps beside a database; erased first, so that no log outlives its database."""


class TenantFiles:
    """The tenants of one data folder."""

    def __init__(
        self, folder: Path, *, synchronous: Literal["FULL", "NORMAL"], checkpoints: bool = True
    ) -> None:
        self._folder = folder
        self._checkpoints = checkpoints
        self._engines: dict[TenantId, SqliteEngine] = {}
        self._synchronous: Literal["FULL", "NORMAL"] = synchronous

    def existing(self) -> list[TenantId]:
        """Return the tenants that have a database."""
        return sorted(TenantId(path.stem) for path in self._folder.glob(f"*{SUFFIX}"))

    def erase(self, tenant: TenantId) -> None:
        """Delete a closed tenant's files; does nothing when there are none."""
        self._engines.pop(tenant, None)
        path = self._folder / f"{require_id(tenant, kind='tenant id')}{SUFFIX}"
        for name in BESIDE:
            path.with_name(path.name + name).unlink(missing_ok=True)
        path.unlink(missing_ok=True)

    async def empty_logs(self) -> None:
        """Checkpoint every open database and empty its log."""
        for engine in list(self._engines.values()):
            await engine.empty_log()

    async def open(self, tenant: TenantId) -> SqliteEngine:
        """Open a tenant's database, making the file if it is missing."""
        engine = SqliteEngine(
            self._folder / f"{tenant}{SUFFIX}",
            synchronous=self._synchronous,
            checkpoints=self._checkpoints,
        )
        await engine.open()
        self._engines[tenant] = engine
        return engine
