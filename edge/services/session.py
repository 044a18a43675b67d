"""Who a request is from, once verified."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.ids import DeviceNumber, PersonId, TenantId

ADMIN_SCOPE = "admin"


@dataclass(frozen=True, slots=True)
class Principal:
    """A verified token: the person, its tenant, its scopes, and when the token ends (Unix s)."""

    tenant: TenantId
    person: PersonId
    scopes: frozenset[str]
    expires_unix_s: int

    @property
    def is_admin(self) -> bool:
        """Whether the token may manage spaces and members."""
        return ADMIN_SCOPE in self.scopes


@dataclass(frozen=True, slots=True)
class DeviceSession:
    """A principal speaking through one of its devices."""

    principal: Principal
    device: DeviceNumber
    schema_version: int
