"""Tenants as the control database knows them: state, regions, and what people may do alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from core.ids import TenantId

REGIONS_MAX: Final = 64


class TenantState(StrEnum):
    """Whether a tenant is served."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    ERASED = "erased"
    """Its data are gone; the name stays taken, so that old tokens can never fit a new tenant."""


@dataclass(frozen=True, slots=True)
class TenantSettings:
    """What people of a tenant may do by themselves; administrators may always."""

    anonymous: bool = True
    """Phones may make accounts without asking anybody."""
    registration: bool = True
    """People may make accounts with an address, an issuer or a passkey."""


@dataclass(frozen=True, slots=True)
class TenantEntry:
    """One tenant. `regions`: where it is pinned to (empty: everywhere); times in Unix ms."""

    tenant: TenantId
    state: TenantState
    regions: tuple[str, ...] = ()
    settings: TenantSettings = field(default_factory=TenantSettings)
    created_ms: int = 0
