"""Who a request is from, once verified."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.ids import DeviceNumber, PersonId, TenantId

ADMIN_SCOPE = "admin"
"""May manage the people, spaces and settings of its own tenant."""
OPERATOR_SCOPE = "operator"
"""May manage tenants and keys of the whole installation; never given to an account."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A verified token: the person, its tenant, its scopes, and when the token ends (Unix s).

    `session` is empty for tokens that belong to no session (service tokens, an operator's own);
    `device` is the id of the session's device key. `proved_unix_s`: when the person last proved who
    they are, `methods`: by what.
    """

    tenant: TenantId
    person: PersonId
    scopes: frozenset[str]
    expires_unix_s: int
    issued_unix_s: int = 0
    session: str = ""
    device: str = ""
    proved_unix_s: int = 0
    methods: frozenset[str] = frozenset()

    @property
    def is_admin(self) -> bool:
        """Whether the token may manage its tenant."""
        return ADMIN_SCOPE in self.scopes

    @property
    def is_operator(self) -> bool:
        """Whether the token may manage the installation."""
        return OPERATOR_SCOPE in self.scopes


@dataclass(frozen=True, slots=True)
class DeviceSession:
    """A principal speaking through one of its devices."""

    principal: Principal
    device: DeviceNumber
    schema_version: int
