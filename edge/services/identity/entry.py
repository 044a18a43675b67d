"""What all ways in share: finding or making the account, and opening its session."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from core.identity.accounts import (
    NAME_LENGTH_MAX,
    Account,
    AccountKind,
    AccountState,
    CredentialKind,
    checked_name,
)
from core.ids import PersonId, TenantId, is_id, new_row_id
from edge.errors import Conflict, Forbidden, InvalidGrant, UnknownTenant
from edge.ports.identity_records import CredentialRecord
from edge.services.identity.audit import note
from edge.services.identity.models import account_of, account_record

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.identity.tenants import TenantSettings
    from edge.ports.identity_stores import ControlDatabase, ControlUnit
    from edge.services.identity.models import NewDevice, SignedIn
    from edge.services.identity.sessions import Opened, Sessions
    from edge.services.identity.trust import Trust
    from edge.services.session import Principal

CREDENTIALS_PER_PERSON_MAX = 32
_REFUSED = "What was presented does not sign in to any account."


@dataclass(frozen=True, slots=True)
class NewCredential:
    """A way in that is to be added: its kind and subject, and what verifies it if it is public."""

    kind: CredentialKind
    subject: str
    public: bytes = b""
    label: str = ""
    counter: int = 0
    id: str = ""
    """Given when something in the vault waits under it."""


class Entry:
    """Accounts and sessions for the ways in."""

    def __init__(
        self,
        control: ControlDatabase,
        sessions: Sessions,
        trust: Trust,
        *,
        now_ms: Callable[[], int],
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._control = control
        self.sessions = sessions
        self._trust = trust
        self._now_ms = now_ms
        self._entropy = entropy

    def settings(self, tenant: str) -> TenantSettings:
        """Return a served tenant's settings; raises UnknownTenant, Forbidden (suspended)."""
        if not is_id(tenant):
            raise UnknownTenant("This node does not serve this tenant.")
        return self._trust.require_served(tenant).settings

    def new_id(self) -> str:
        """Return a new id for a person or a credential."""
        return new_row_id(now_ms=self._now_ms(), entropy=self._entropy(10))

    async def anonymous(self, tenant: str, device: NewDevice, *, address: str) -> SignedIn:
        """Make an account nobody is asked about; raises Forbidden where the tenant has none."""
        if not self.settings(tenant).anonymous:
            raise Forbidden("This tenant takes no anonymous accounts.")
        self.sessions.check_device(tenant, device)
        account = self._new(tenant, AccountKind.ANONYMOUS, "")

        def work(unit: ControlUnit) -> Opened:
            self._store(unit, account, address)
            return self.sessions.open(unit, account, device, method="device", address=address)

        return await self.sessions.answer(await self._control.write(work))

    async def sign_in(
        self,
        tenant: str,
        device: NewDevice,
        *,
        kind: CredentialKind,
        subject: str,
        address: str,
        counter: int = 0,
    ) -> SignedIn:
        """Sign in to the account that has a credential; raises InvalidGrant."""

        def work(unit: ControlUnit) -> Opened:
            credential = unit.credentials.find(tenant, kind.value, subject)
            if credential is None:
                raise InvalidGrant(_REFUSED)
            return self._use(unit, credential, device, counter=counter, address=address)

        return await self.sessions.answer(await self._control.write(work))

    async def sign_in_or_up(
        self,
        tenant: str,
        device: NewDevice,
        credentials: list[NewCredential],
        *,
        name: str = "",
        address: str,
        must_be_new: bool = False,
    ) -> SignedIn:
        """Sign in with the first credential, or make an account with all of them.

        With `must_be_new` a taken credential raises InvalidGrant; making an account raises
        Forbidden where the tenant registers nobody.
        """
        first = credentials[0]

        def work(unit: ControlUnit) -> Opened:
            found = unit.credentials.find(tenant, first.kind.value, first.subject)
            if found is not None:
                if must_be_new:
                    raise InvalidGrant(_REFUSED)
                return self._use(unit, found, device, counter=0, address=address)
            if not self.settings(tenant).registration:
                raise Forbidden("This tenant registers nobody.")
            account = self._new(tenant, AccountKind.NAMED, checked_name(name[:NAME_LENGTH_MAX]))
            self._store(unit, account, address)
            for credential in credentials:
                self.add_in(unit, account, credential, address=address)
            return self.sessions.open(
                unit, account, device, method=first.kind.value, address=address
            )

        return await self.sessions.answer(await self._control.write(work))

    async def attach(
        self, principal: Principal, credentials: list[NewCredential], *, address: str
    ) -> None:
        """Give a signed-in person further ways in; an anonymous account becomes a named one.

        The person stays the same, and with it every row and every queued write of its phones.
        Raises Conflict when a credential is another account's.
        """

        def work(unit: ControlUnit) -> None:
            account = self.active(unit, principal.tenant, principal.person)
            present = unit.credentials.of_person(account.tenant, account.person)
            if len(present) + len(credentials) > CREDENTIALS_PER_PERSON_MAX:
                raise Conflict(f"An account has at most {CREDENTIALS_PER_PERSON_MAX} ways in.")
            for credential in credentials:
                self.add_in(unit, account, credential, address=address)
            if account.kind is AccountKind.ANONYMOUS:
                unit.accounts.put(account_record(replace(account, kind=AccountKind.NAMED)))
            # From the next refresh on the session is no longer the device's word alone.
            methods = [credential.kind.value for credential in credentials]
            self.sessions.prove_in(unit, account.tenant, principal.session, methods=methods)

        await self._control.write(work)

    def active(self, unit: ControlUnit, tenant: str, person: str) -> Account:
        """Return an account that may be used; raises InvalidGrant."""
        record = unit.accounts.get(tenant, person)
        if record is None or not (account := account_of(record)).is_active:
            raise InvalidGrant(_REFUSED)
        return account

    def _use(
        self,
        unit: ControlUnit,
        credential: CredentialRecord,
        device: NewDevice,
        *,
        counter: int,
        address: str,
    ) -> Opened:
        account = self.active(unit, credential.tenant, credential.person)
        unit.credentials.used(
            credential.tenant, credential.id, counter=counter, at_ms=self._now_ms()
        )
        return self.sessions.open(unit, account, device, method=credential.kind, address=address)

    def _new(self, tenant: str, kind: AccountKind, name: str) -> Account:
        person = PersonId(self.new_id())
        return Account(
            TenantId(tenant), person, kind, AccountState.ACTIVE, name, frozenset(), self._now_ms()
        )

    def _store(self, unit: ControlUnit, account: Account, address: str) -> None:
        unit.accounts.put(account_record(account))
        note(
            unit, "account.create", tenant=account.tenant, actor=account.person,
            subject=account.person, now_ms=self._now_ms(), address=address, kind=account.kind.value,
        )  # fmt: skip

    def add_in(
        self, unit: ControlUnit, account: Account, credential: NewCredential, *, address: str
    ) -> None:
        """Add a credential to an account in a transaction; raises Conflict when it is taken."""
        now_ms = self._now_ms()
        record = CredentialRecord(
            account.tenant,
            credential.id or self.new_id(),
            account.person,
            credential.kind.value,
            credential.subject,
            credential.public,
            checked_name(credential.label[:NAME_LENGTH_MAX]),
            credential.counter,
            now_ms,
            now_ms,
        )
        if not unit.credentials.add(record):
            raise Conflict("This way in belongs to an account already.")
        note(
            unit, "credential.add", tenant=account.tenant, actor=account.person,
            subject=account.person, now_ms=now_ms, address=address, kind=credential.kind.value,
        )  # fmt: skip
