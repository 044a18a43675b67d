"""The audit trail: what was done to whose identity, by whom, from where.

Entries hold no secret, no address of a mailbox and no token; `detail` is a few plain values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edge.ports.identity_records import AuditRecord

if TYPE_CHECKING:
    from edge.ports.identity_stores import ControlDatabase, ControlUnit

ENTRIES_LISTED_MAX: Final = 1_000
INSTALLATION: Final = "-"
"""Stands for a tenant in entries about the whole installation, such as keys."""


def note(
    unit: ControlUnit,
    action: str,
    *,
    tenant: str,
    actor: str,
    subject: str,
    now_ms: int,
    address: str = "",
    **detail: Any,  # noqa: ANN401  (plain JSON values)
) -> None:
    """Append an entry in the transaction of what it tells about."""
    unit.audit.add(AuditRecord(0, tenant, now_ms, actor, action, subject, address, detail))


class Audit:
    """Reading the trail."""

    def __init__(self, control: ControlDatabase) -> None:
        self._control = control

    async def list(
        self, tenant: str, *, subject: str | None = None, after: int = 0, limit: int = 100
    ) -> list[AuditRecord]:
        """Return entries of one tenant after an id, oldest first."""
        bounded = max(1, min(limit, ENTRIES_LISTED_MAX))
        return await self._control.read(
            lambda unit: unit.audit.list(tenant, subject=subject, after=after, limit=bounded)
        )
