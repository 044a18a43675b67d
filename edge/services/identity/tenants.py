"""The directory of tenants: made, configured, suspended, and erased for ever."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from core.identity.tenants import REGIONS_MAX, TenantEntry, TenantSettings, TenantState
from core.ids import TenantId, is_id
from edge.errors import Conflict, InvalidQuery, NotFound
from edge.services.identity.audit import INSTALLATION, note
from edge.services.identity.models import tenant_of, tenant_record

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from edge.ports.identity_stores import ControlDatabase, ControlUnit, VaultDatabase
    from edge.services.identity.trust import Trust

TENANTS_MAX: Final = 100_000
_REGION = re.compile(r"[a-z0-9-]{1,32}", re.ASCII)


class TenantDirectory:
    """Changes tenants in the control database, and their databases through the node."""

    def __init__(
        self,
        control: ControlDatabase,
        vault: VaultDatabase,
        *,
        trust: Trust,
        create_database: Callable[[TenantId], Awaitable[None]],
        erase_database: Callable[[TenantId], Awaitable[None]],
        now_ms: Callable[[], int],
    ) -> None:
        self._control = control
        self._vault = vault
        self._trust = trust
        self._create_database = create_database
        self._erase_database = erase_database
        self._now_ms = now_ms

    async def adopt(self, tenants: Iterable[TenantId]) -> list[TenantId]:
        """Enter tenants that have a database or are configured; return those to be served.

        Erased ones stay erased: a setting that still names one does not bring it back.
        """
        names = list(tenants)
        now_ms = self._now_ms()

        def work(unit: ControlUnit) -> list[TenantId]:
            for name in names:
                if unit.tenants.get(name) is None:
                    entry = TenantEntry(name, TenantState.ACTIVE, created_ms=now_ms)
                    unit.tenants.put(tenant_record(entry))
            return [
                TenantId(record.tenant)
                for record in unit.tenants.all()
                if record.state != TenantState.ERASED.value
            ]

        served = await self._control.write(work)
        await self._trust.refresh()
        return served

    async def list(self) -> list[TenantEntry]:
        """Return every tenant that was not erased."""
        found = await self._control.read(
            lambda unit: [tenant_of(record) for record in unit.tenants.all()]
        )
        return [entry for entry in found if entry.state is not TenantState.ERASED]

    async def get(self, tenant: str) -> TenantEntry:
        """Return one tenant; raises NotFound."""
        return await self._control.read(lambda unit: _entry(unit, tenant))

    async def create(
        self, tenant: str, *, regions: Iterable[str] = (), actor: str, address: str = ""
    ) -> TenantEntry:
        """Make a tenant and its database; raises InvalidQuery, Conflict."""
        if not is_id(tenant) or tenant == INSTALLATION:
            raise InvalidQuery("A tenant is named by an id of 1 to 64 characters.")
        now_ms = self._now_ms()
        entry = TenantEntry(
            TenantId(tenant), TenantState.ACTIVE, _regions(regions), created_ms=now_ms
        )

        def work(unit: ControlUnit) -> None:
            if unit.tenants.get(tenant) is not None:
                raise Conflict("There is, or was, a tenant of this name.")
            unit.tenants.put(tenant_record(entry))
            note(
                unit, "tenant.create", tenant=tenant, actor=actor, subject=tenant, now_ms=now_ms,
                address=address,
            )  # fmt: skip

        # The database comes first: a tenant that is entered can be served.
        await self._control.read(lambda unit: _require_new(unit, tenant))
        await self._create_database(TenantId(tenant))
        await self._control.write(work)
        await self._trust.refresh()
        return entry

    async def configure(
        self,
        tenant: str,
        *,
        actor: str,
        address: str = "",
        state: TenantState | None = None,
        regions: Iterable[str] | None = None,
        anonymous: bool | None = None,
        registration: bool | None = None,
    ) -> TenantEntry:
        """Suspend, resume, pin or configure: what is None stays. Raises NotFound, InvalidQuery."""
        assert state is not TenantState.ERASED, "erasing has its own method"
        pinned = None if regions is None else _regions(regions)
        now_ms = self._now_ms()

        def work(unit: ControlUnit) -> TenantEntry:
            before = _entry(unit, tenant)
            settings = before.settings
            after = replace(
                before,
                state=state or before.state,
                regions=before.regions if pinned is None else pinned,
                settings=TenantSettings(
                    anonymous=settings.anonymous if anonymous is None else anonymous,
                    registration=settings.registration if registration is None else registration,
                ),
            )
            unit.tenants.put(tenant_record(after))
            note(
                unit, "tenant.change", tenant=tenant, actor=actor, subject=tenant, now_ms=now_ms,
                address=address, state=after.state.value, regions=list(after.regions),
                anonymous=after.settings.anonymous, registration=after.settings.registration,
            )  # fmt: skip
            return after

        changed = await self._control.write(work)
        await self._trust.refresh()
        return changed

    async def erase(self, tenant: str, *, actor: str, address: str = "") -> None:
        """Delete everything of a tenant; its name stays taken. Raises NotFound.

        Each step can be repeated: a crash between them is mended by erasing again.
        """
        now_ms = self._now_ms()

        def work(unit: ControlUnit) -> None:
            entry = unit.tenants.get(tenant)
            if entry is None:
                raise NotFound("There is no such tenant.")
            erased = replace(
                tenant_of(entry), state=TenantState.ERASED, settings=TenantSettings(), regions=()
            )
            unit.tenants.erase(tenant)
            unit.tenants.put(tenant_record(erased))
            note(
                unit, "tenant.erase", tenant=INSTALLATION, actor=actor, subject=tenant,
                now_ms=now_ms, address=address,
            )  # fmt: skip

        await self._control.write(work)
        await self._trust.refresh()  # nobody gets in any more
        await self._vault.write(lambda unit: unit.erase(tenant))
        await self._erase_database(TenantId(tenant))


def _entry(unit: ControlUnit, tenant: str) -> TenantEntry:
    record = unit.tenants.get(tenant)
    if record is None or record.state == TenantState.ERASED.value:
        raise NotFound("There is no such tenant.")
    return tenant_of(record)


def _require_new(unit: ControlUnit, tenant: str) -> None:
    if unit.tenants.get(tenant) is not None:
        raise Conflict("There is, or was, a tenant of this name.")
    if len(unit.tenants.all()) >= TENANTS_MAX:
        raise Conflict(f"An installation has at most {TENANTS_MAX} tenants.")


def _regions(words: Iterable[str]) -> tuple[str, ...]:
    regions = tuple(dict.fromkeys(words))
    if len(regions) > REGIONS_MAX or any(_REGION.fullmatch(r) is None for r in regions):
        raise InvalidQuery("A region is a short name such as fra; there are at most 64.")
    return regions
