"""hello: a device gets its number and learns how its sync resumes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from core.clock import HybridClock, measured_skew
from core.errors import IdentifierError
from core.ids import DeviceNumber, InstallationId, require_id
from edge.errors import InvalidQuery, SchemaAhead, SchemaTooOld, UnknownDevice, WrongApp
from edge.services.session import DeviceSession
from sync_protocol.fingerprint import fingerprint
from sync_protocol.messages.welcome import Welcome
from sync_protocol.version import PROTOCOL_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from core.schema.app import App
    from edge.ports.records import DeviceRecord
    from edge.ports.stores import Database, Unit
    from edge.services.session import Principal
    from sync_protocol.messages.hello import Hello

SESSIONS_CACHED_MAX: Final = 50_000
REST_PREFIX: Final = "rest:"
"""Installations of the node's own making; devices may not take such names."""


class Devices:
    """One tenant's devices."""

    def __init__(self, app: App, database: Database, *, now_ms: Callable[[], int]) -> None:
        self._app = app
        self._database = database
        self._now_ms = now_ms
        self._fingerprint = fingerprint(app)
        self._owners: dict[int, str] = {}

    async def hello(self, principal: Principal, hello: Hello) -> Welcome:
        """Register the installation if it is new; answer with its number and how to resume.

        Raises WrongApp, SchemaAhead, SchemaTooOld, InvalidQuery (a malformed installation id).
        """
        self.require_schema(hello.app, hello.schema_version)
        try:
            require_id(hello.installation, kind="installation id")
        except IdentifierError as error:
            raise InvalidQuery(str(error)) from error
        if hello.installation.startswith(REST_PREFIX):
            raise InvalidQuery("This installation id is reserved.")
        return await self._database.write(partial(self._welcome, principal, hello))

    async def session(
        self, principal: Principal, device: int, schema_version: int
    ) -> DeviceSession:
        """Check that a device number is the principal's; raises UnknownDevice, SchemaAhead."""
        self.require_schema(self._app.name, schema_version)
        owner = self._owners.get(device)
        if owner is None:
            record = await self._database.read(lambda unit: unit.devices.by_number(device))
            owner = "" if record is None else record.person
            if owner:
                self._remember(device, owner)
        if not owner or owner != principal.person:
            raise UnknownDevice("This device number is not yours: say hello again.")
        return DeviceSession(principal, DeviceNumber(device), schema_version)

    async def rest_device(self, principal: Principal) -> int:
        """Return the device number that a person's REST writes are made with."""
        name = InstallationId(f"{REST_PREFIX}{principal.person}")
        find = partial(self._find, principal.person, name)
        record = await self._database.read(find) or await self._database.write(
            lambda unit: (
                find(unit) or unit.devices.register(principal.person, name, now_ms=self._now_ms())
            )
        )
        return record.n

    def forget(self, devices: Iterable[int]) -> None:
        """Forget whose some devices are: their owner has been erased."""
        for device in devices:
            self._owners.pop(device, None)

    def require_schema(self, app: str, schema_version: int) -> None:
        """Check that this node can serve an app of this name and schema version."""
        if app != self._app.name:
            raise WrongApp(f"This node serves {self._app.name!r}.")
        if schema_version > self._app.version:
            raise SchemaAhead(f"This node has schema version {self._app.version}.")
        if schema_version < self._app.oldest_version:
            raise SchemaTooOld(f"This app takes schema version {self._app.oldest_version} and up.")

    @staticmethod
    def _find(person: str, installation: str, unit: Unit) -> DeviceRecord | None:
        return unit.devices.by_installation(person, installation)

    def _welcome(self, principal: Principal, hello: Hello, unit: Unit) -> Welcome:
        now_ms = self._now_ms()
        device = self._find(principal.person, hello.installation, unit)
        if device is None:
            device = unit.devices.register(principal.person, hello.installation, now_ms=now_ms)
        self._remember(device.n, principal.person)
        now, horizon = unit.meta.get("sequence"), unit.meta.get("horizon")
        database = unit.meta.get("database")
        cursor = hello.cursor
        resume: Literal["current", "replay", "reset"] = "replay"
        if cursor is None or cursor.database != database or not horizon <= cursor.sequence <= now:
            resume = "reset"
        elif cursor.sequence == now and cursor.backfill is None:
            resume = "current"
        acknowledged = 0 if cursor is None or resume == "reset" else cursor.sequence
        unit.devices.acknowledge(device.n, acknowledged, now_ms=now_ms)
        return Welcome(
            PROTOCOL_VERSION,
            device.n,
            database,
            now,
            self._app.version,
            self._fingerprint,
            max(HybridClock(unit.meta.get("clock")).tick(now_ms), 0),
            resume,
            device.counter,
            measured_skew(device_clock=hello.clock, now_unix_ms=now_ms),
        )

    def _remember(self, device: int, person: str) -> None:
        if len(self._owners) >= SESSIONS_CACHED_MAX:
            self._owners.clear()
        self._owners[device] = person
