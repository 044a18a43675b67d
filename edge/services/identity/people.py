"""A person's rights to its data (GDPR articles 15, 17, 20), and a tenant's, over both databases."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from core.ids import PersonId, TenantId
from edge.errors import NotFound
from edge.services.identity.audit import note
from edge.services.identity.models import session_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from edge.ports.identity_stores import ControlDatabase, ControlUnit, VaultDatabase
    from edge.services.identity.sessions import Sessions
    from edge.services.identity.trust import Trust

PAGE: Final = 1_000
ENTRIES_MAX: Final = 1_000_000
"""Of each kind in one export; more than any tenant of one SQLite file has."""


class People:
    """Exports and erases what the control database knows; rows are the tenant's archive's."""

    def __init__(
        self,
        control: ControlDatabase,
        vault: VaultDatabase,
        *,
        sessions: Sessions,
        trust: Trust,
        now_ms: Callable[[], int],
        pseudonym: Callable[[], str],
    ) -> None:
        self._control = control
        self._vault = vault
        self._sessions = sessions
        self._trust = trust
        self._now_ms = now_ms
        self._pseudonym = pseudonym

    async def control_entries(
        self, tenant: TenantId, person: PersonId | None, *, actor: str, address: str
    ) -> Mapping[str, list[dict[str, Any]]]:
        """Return what belongs into an export beside the rows, and note the export.

        The keys are the names of the archive's entries without their suffix; no secret is in it.
        Raises NotFound for a person that has no account.
        """
        now_ms = self._now_ms()

        def read(unit: ControlUnit) -> dict[str, list[dict[str, Any]]]:
            people = [person] if person is not None else list(_people(unit, tenant))
            accounts = [_account(unit, tenant, one) for one in people]
            if person is not None and accounts == [None]:
                raise NotFound("There is no such person.")
            return {
                "accounts": [one for one in accounts if one is not None],
                "sessions": [s for one in people for s in _sessions(unit, tenant, one, now_ms)],
                "audit": list(_audit(unit, tenant, person)),
            }

        def write(unit: ControlUnit) -> None:
            subject = tenant if person is None else person
            note(
                unit, "export", tenant=tenant, actor=actor, subject=subject, now_ms=now_ms,
                address=address,
            )  # fmt: skip

        found = await self._control.read(read)
        await self._control.write(write)
        return found

    async def erase(self, tenant: TenantId, person: PersonId, *, actor: str, address: str) -> None:
        """Forget a person: account, ways in, devices, sessions; the audit trail keeps a pseudonym.

        Raises NotFound. Sessions and tokens end at once.
        """
        now_ms = self._now_ms()
        pseudonym = f"erased:{self._pseudonym()}"
        by = pseudonym if actor == person else actor

        def work(unit: ControlUnit) -> list[str]:
            if unit.accounts.get(tenant, person) is None:
                raise NotFound("There is no such person.")
            credentials = [c.id for c in unit.credentials.of_person(tenant, person)]
            self._sessions.revoke_person_in(unit, tenant, person, reason="erased")
            unit.accounts.erase(tenant, person)
            unit.audit.pseudonymise(tenant, person, pseudonym=pseudonym)
            note(
                unit, "person.erase", tenant=tenant, actor=by, subject=pseudonym, now_ms=now_ms,
                address="" if by == pseudonym else address,
            )  # fmt: skip
            return credentials

        credentials = await self._control.write(work)
        await self._trust.refresh()

        def forget(unit: Any) -> None:  # noqa: ANN401  (a VaultUnit)
            unit.erase(tenant, person)
            for credential in credentials:
                unit.secrets.remove(tenant, credential)

        await self._vault.write(forget)


def _people(unit: ControlUnit, tenant: str) -> Iterator[PersonId]:
    after = ""
    for _ in range(ENTRIES_MAX // PAGE):
        page = unit.accounts.list(tenant, after=after, limit=PAGE)
        yield from (PersonId(record.person) for record in page)
        if len(page) < PAGE:
            return
        after = page[-1].person


def _account(unit: ControlUnit, tenant: str, person: str) -> dict[str, Any] | None:
    record = unit.accounts.get(tenant, person)
    if record is None:
        return None
    ways = [
        {"kind": c.kind, "subject": c.subject, "label": c.label, "created_ms": c.created_ms}
        for c in unit.credentials.of_person(tenant, person)
    ]
    devices = [
        {"id": d.id, "name": d.name, "created_ms": d.created_ms}
        for d in unit.devices.of_person(tenant, person)
    ]
    return {**asdict(record), "credentials": ways, "devices": devices}


def _sessions(unit: ControlUnit, tenant: str, person: str, now_ms: int) -> list[dict[str, Any]]:
    found = [session_of(r) for r in unit.sessions.active(tenant, person, now_ms=now_ms)]
    return [
        {
            "person": person,
            "session": session.id,
            "device": session.device,
            "created_ms": session.created_ms,
            "refreshed_ms": session.refreshed_ms,
            "methods": list(session.methods),
        }
        for session in found
    ]


def _audit(unit: ControlUnit, tenant: str, person: str | None) -> Iterator[dict[str, Any]]:
    after = 0
    for _ in range(ENTRIES_MAX // PAGE):
        page = unit.audit.list(tenant, subject=person, after=after, limit=PAGE)
        yield from (asdict(record) for record in page)
        if len(page) < PAGE:
            return
        after = page[-1].id
