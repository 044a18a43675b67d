"""High-water marks: how far each tenant's database has been seen to go, in files beside it.

A database that is behind its mark has been restored from an older copy, or has lost its last
commits to a power cut. Devices may have read further: it must get a new id, so that they read it
again.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from core.ids import TenantId


class HighWaterFiles:
    """One small JSON file per tenant."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, tenant: TenantId) -> tuple[str, int] | None:
        """Return (database id, sequence) of a tenant's mark, or None without a readable one."""
        try:
            mark = json.loads(self._path(tenant).read_text())
            return str(mark["database"]), int(mark["sequence"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, tenant: TenantId, database: str, sequence: int) -> None:
        """Replace a tenant's mark; a mark that cannot be written is only older than it could be."""
        path = self._path(tenant)
        draft = path.with_suffix(".new")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            draft.write_text(json.dumps({"database": database, "sequence": sequence}))
            draft.replace(path)
        except OSError:
            draft.unlink(missing_ok=True)

    def erase(self, tenant: TenantId) -> None:
        """Delete a tenant's mark; does nothing when there is none."""
        path = self._path(tenant)
        path.with_suffix(".new").unlink(missing_ok=True)
        path.unlink(missing_ok=True)

    def _path(self, tenant: TenantId) -> Path:
        return self._folder / f"{tenant}.json"
