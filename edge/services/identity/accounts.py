"""Accounts after signing in: seen, changed, disabled, listed; by people and administrators."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from core.errors import Refusal
from core.identity.accounts import Account, AccountKind, AccountState, CredentialKind, checked_name
from edge.errors import Conflict, InvalidQuery, NotFound
from edge.services.identity.audit import note
from edge.services.identity.models import account_of, account_record
from edge.services.session import ADMIN_SCOPE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edge.ports.identity_records import CredentialRecord
    from edge.ports.identity_stores import ControlDatabase, ControlUnit, VaultDatabase
    from edge.services.identity.sessions import Sessions
    from edge.services.identity.trust import Trust

ACCOUNTS_LISTED_MAX: Final = 1_000
ACCOUNT_SCOPES: Final = frozenset({ADMIN_SCOPE})
"""What an administrator may give to people of its tenant."""


@dataclass(frozen=True, slots=True)
class Profile:
    """An account with its ways in (without anything that verifies them)."""

    account: Account
    credentials: list[CredentialRecord]


class Accounts:
    """Reads and changes accounts of one tenant at a time."""

    def __init__(
        self,
        control: ControlDatabase,
        vault: VaultDatabase,
        *,
        sessions: Sessions,
        trust: Trust,
        now_ms: Callable[[], int],
    ) -> None:
        self._control = control
        self._vault = vault
        self._sessions = sessions
        self._trust = trust
        self._now_ms = now_ms

    async def profile(self, tenant: str, person: str) -> Profile:
        """Return an account and its ways in; raises NotFound."""

        def work(unit: ControlUnit) -> Profile:
            return Profile(
                _account(unit, tenant, person), unit.credentials.of_person(tenant, person)
            )

        return await self._control.read(work)

    async def list(self, tenant: str, *, after: str = "", limit: int = 100) -> list[Account]:
        """Return accounts in the order of their ids, after one."""
        bounded = max(1, min(limit, ACCOUNTS_LISTED_MAX))
        return await self._control.read(
            lambda unit: [
                account_of(record)
                for record in unit.accounts.list(tenant, after=after, limit=bounded)
            ]
        )

    async def change(
        self,
        tenant: str,
        person: str,
        *,
        actor: str,
        address: str,
        name: str | None = None,
        state: AccountState | None = None,
        scopes: Iterable[str] | None = None,
    ) -> Account:
        """Change what is given; disabling ends every session. Raises NotFound, InvalidQuery."""
        words = None if scopes is None else frozenset(scopes)
        if words is not None and not words <= ACCOUNT_SCOPES:
            raise InvalidQuery(f"An account may have the scopes {', '.join(ACCOUNT_SCOPES)}.")
        now_ms = self._now_ms()

        def work(unit: ControlUnit) -> Account:
            before = _account(unit, tenant, person)
            if before.kind is AccountKind.SERVICE and words is not None:
                raise InvalidQuery("A service has the scopes that its token was made with.")
            after = replace(
                before,
                name=before.name if name is None else _name(name),
                state=state or before.state,
                scopes=before.scopes if words is None else words,
            )
            unit.accounts.put(account_record(after))
            # What its tokens say of it is not true any more: they are made anew by a refresh.
            if after.state is AccountState.DISABLED or not before.scopes <= after.scopes:
                self._sessions.revoke_person_in(unit, tenant, person, reason="account-changed")
            note(
                unit, "account.change", tenant=tenant, actor=actor, subject=person, now_ms=now_ms,
                address=address, state=after.state.value, scopes=sorted(after.scopes),
            )  # fmt: skip
            return after

        changed = await self._control.write(work)
        await self._trust.refresh()
        return changed

    async def remove_credential(
        self, tenant: str, person: str, credential: str, *, actor: str, address: str
    ) -> None:
        """Take a way in away; raises NotFound, or Conflict for the last one of a named account."""
        now_ms = self._now_ms()

        def work(unit: ControlUnit) -> None:
            account = _account(unit, tenant, person)
            present = unit.credentials.of_person(tenant, person)
            found = next((c for c in present if c.id == credential), None)
            if found is None:
                raise NotFound("There is no such way in.")
            gone = [found]
            if found.kind == CredentialKind.EMAIL.value:
                # A password is typed with the address: without the address it is worth nothing.
                gone += [c for c in present if c.kind == CredentialKind.PASSWORD.value]
            if account.kind is AccountKind.NAMED and len(gone) == len(present):
                raise Conflict("This is the account's last way in.")
            for one in gone:
                unit.credentials.remove(tenant, person, one.id)
            note(
                unit, "credential.remove", tenant=tenant, actor=actor, subject=person,
                now_ms=now_ms, address=address, kind=found.kind,
            )  # fmt: skip

        await self._control.write(work)
        await self._vault.write(lambda unit: unit.secrets.remove(tenant, credential))


def _account(unit: ControlUnit, tenant: str, person: str) -> Account:
    record = unit.accounts.get(tenant, person)
    if record is None:
        raise NotFound("There is no such person.")
    return account_of(record)


def _name(text: str) -> str:
    try:
        return checked_name(text)
    except Refusal as refusal:
        raise InvalidQuery(refusal.message) from None
