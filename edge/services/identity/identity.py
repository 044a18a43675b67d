"""Identity of one process: every service of this folder, wired, opened and closed together."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge.services.identity.accounts import Accounts
from edge.services.identity.audit import Audit
from edge.services.identity.entry import Entry
from edge.services.identity.flows import Flows
from edge.services.identity.housekeeping import Housekeeping
from edge.services.identity.issuers import Issuers
from edge.services.identity.passkeys import PasskeyEntry
from edge.services.identity.passwords import Passwords
from edge.services.identity.people import People
from edge.services.identity.proofs import Proofs
from edge.services.identity.reports import Reports
from edge.services.identity.service_tokens import ServiceTokens
from edge.services.identity.sessions import Sessions
from edge.services.identity.signing import Signing
from edge.services.identity.tenants import TenantDirectory
from edge.services.identity.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from core.identity.keys import Authority
    from core.ids import TenantId
    from edge.ports.identity_stores import ControlDatabase, VaultDatabase
    from edge.ports.issuers import IdTokens
    from edge.ports.keys import PrivateKeys
    from edge.ports.passkeys import Passkeys
    from edge.ports.passwords import PasswordHasher
    from edge.services.identity.mailer import Mailer
    from edge.services.keys import KeyRing
    from edge.services.limits import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityParts:
    """What identity stands on; the composition root fills it in."""

    control: ControlDatabase
    vault: VaultDatabase
    private_keys: PrivateKeys
    operator_keys: KeyRing
    hasher: PasswordHasher
    mailer: Mailer
    limits: Limits
    id_tokens: IdTokens | None
    passkeys: Passkeys | None
    create_database: Callable[[TenantId], Awaitable[None]]
    erase_database: Callable[[TenantId], Awaitable[None]]
    app_name: str
    node: str
    authority: Authority
    is_writer: bool
    now_ms: Callable[[], int]
    entropy: Callable[[int], bytes] = os.urandom


class Identity:
    """Accounts, ways in, sessions, keys and tenants of one process.

    A process that only reads (`is_writer` False) verifies tokens and lists sessions; requests that
    write are forwarded to the writing one before they get here.
    """

    def __init__(self, parts: IdentityParts) -> None:
        control, vault = parts.control, parts.vault
        now_ms = parts.now_ms
        self._parts = parts
        self.control, self.vault, self.mailer = control, vault, parts.mailer
        self.limits = parts.limits
        self.trust = Trust(control, parts.operator_keys, clock=lambda: parts.now_ms() / 1_000)
        self.signing = Signing(
            control,
            parts.private_keys,
            self.trust,
            node=parts.node,
            authority=parts.authority,
            now_ms=now_ms,
        )
        self.reports = Reports(control, parts.mailer, app_name=parts.app_name)
        self.sessions = Sessions(
            control,
            signing=self.signing,
            proofs=Proofs(clock=lambda: parts.now_ms() / 1_000),
            trust=self.trust,
            entropy=parts.entropy,
            limits=parts.limits,
            on_reuse=self.reports.session_reused,
            now_ms=now_ms,
        )
        self.entry = Entry(control, self.sessions, self.trust, entropy=parts.entropy, now_ms=now_ms)
        flows = Flows(vault, entropy=parts.entropy, now_ms=now_ms)
        entry, limits = self.entry, parts.limits
        self.passwords = Passwords(
            control,
            vault,
            hasher=parts.hasher,
            mailer=parts.mailer,
            app_name=parts.app_name,
            entry=entry,
            flows=flows,
            limits=limits,
            now_ms=now_ms,
        )
        self.issuers = Issuers(tokens=parts.id_tokens, entry=entry, flows=flows, limits=limits)
        self.passkeys = PasskeyEntry(
            control, passkeys=parts.passkeys, entry=entry, flows=flows, limits=limits
        )
        self._add_administration(parts)

    def _add_administration(self, parts: IdentityParts) -> None:
        """Make what administrators and operators use."""
        control, vault, now_ms = parts.control, parts.vault, parts.now_ms
        self.service_tokens = ServiceTokens(
            control,
            entry=self.entry,
            signing=self.signing,
            trust=self.trust,
            limits=parts.limits,
            entropy=parts.entropy,
            now_ms=now_ms,
        )
        self.accounts = Accounts(
            control, vault, sessions=self.sessions, trust=self.trust, now_ms=now_ms
        )
        self.people = People(
            control,
            vault,
            sessions=self.sessions,
            trust=self.trust,
            pseudonym=lambda: parts.entropy(10).hex(),
            now_ms=now_ms,
        )
        self.tenants = TenantDirectory(
            control,
            vault,
            trust=self.trust,
            create_database=parts.create_database,
            erase_database=parts.erase_database,
            now_ms=now_ms,
        )
        self.audit = Audit(control)
        self._housekeeping = Housekeeping(control, vault, self.signing, now_ms=now_ms)

    async def open(self, tenants: list[TenantId]) -> list[TenantId]:
        """Read what is trusted, make keys where there are none; return the tenants to serve."""
        await self.trust.start()
        if not self._parts.is_writer:
            return tenants
        served = await self.tenants.adopt(tenants)
        await self.signing.open()
        self._parts.mailer.start()
        self._housekeeping.start()
        return served

    async def close(self) -> None:
        """Stop everything and close both databases."""
        await self._housekeeping.close()
        await self._parts.mailer.close()
        await self.trust.close()
        await self.reports.close()
        await self._parts.hasher.close()
        if self._parts.id_tokens is not None:
            await self._parts.id_tokens.close()
        await self._parts.control.close()
        await self._parts.vault.close()
