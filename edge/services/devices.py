"""hello: a device gets its number and learns how its sync resumes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from core.clock import HybridClock, measured_skew
from core.errors import IdentifierError
from core.ids import DeviceNumber, InstallationId, require_id
from edge.errors import (
    InvalidQuery,
    ProtocolVersion,
    SchemaAhead,
    SchemaTooOld,
    Unavailable,
    UnknownDevice,
    WrongApp,
)
from edge.services.lineage import adopted, replaced
from edge.services.session import DeviceSession
from edge.services.standing import STANDALONE
from sync_protocol.fingerprint import fingerprint
from sync_protocol.messages.welcome import Welcome
from sync_protocol.version import PROTOCOL_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from core.schema.app import App
    from edge.ports.records import DeviceRecord
    from edge.ports.stores import Database, Unit
    from edge.services.session import Principal
    from edge.services.standing import Standing
    from sync_protocol.messages.cursor import Cursor
    from sync_protocol.messages.hello import Hello

    Resume = Literal["current", "replay", "reset"]

SESSIONS_CACHED_MAX: Final = 50_000
REST_PREFIX: Final = "rest:"
"""Installations of the node's own making; devices may not take such names."""


class Devices:
    """One tenant's devices."""

    def __init__(
        self,
        app: App,
        database: Database,
        *,
        now_ms: Callable[[], int],
        standing: Standing = STANDALONE,
    ) -> None:
        self._app = app
        self._database = database
        self._now_ms = now_ms
        self._standing = standing
        self._fingerprint = fingerprint(app)
        self._owners: dict[int, str] = {}

    async def hello(self, principal: Principal, hello: Hello) -> Welcome:
        """Register the installation if it is new; answer with its number and how to resume.

        Raises ProtocolVersion, WrongApp, SchemaAhead, SchemaTooOld, InvalidQuery (a malformed
        installation id).
        """
        self._check(hello)
        return self._noted(await self._database.write(partial(self._welcome, principal, hello)))

    async def greet_locally(self, principal: Principal, hello: Hello) -> Welcome:
        """Answer a known installation without writing anything: the primary is away.

        Raises as `hello` does, and Unavailable for an installation that this database has not got:
        only the primary gives numbers.
        """
        self._check(hello)
        return self._noted(await self._database.read(partial(self._greeting, principal, hello)))

    async def session(
        self, principal: Principal, device: int, schema_version: int
    ) -> DeviceSession:
        """Check that a device number is the principal's; raises UnknownDevice, SchemaAhead.

        A replica that has not got the number raises Unavailable: the primary may have given it.
        """
        self.require_schema(self._app.name, schema_version)
        owner = self._owners.get(device)
        if owner is None:
            record = await self._database.read(lambda unit: unit.devices.by_number(device))
            if record is None and self._standing.is_replica:
                raise Unavailable("This node has not heard of this device number yet.")
            owner = "" if record is None else record.person
            if owner:
                self.remember(device, owner)
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

    def _check(self, hello: Hello) -> None:
        if hello.protocol != PROTOCOL_VERSION:
            raise ProtocolVersion(f"This node speaks version {PROTOCOL_VERSION} of the protocol.")
        self.require_schema(hello.app, hello.schema_version)
        try:
            require_id(hello.installation, kind="installation id")
        except IdentifierError as error:
            raise InvalidQuery(str(error)) from error
        if hello.installation.startswith(REST_PREFIX):
            raise InvalidQuery("This installation id is reserved.")

    def _welcome(self, principal: Principal, hello: Hello, unit: Unit) -> Welcome:
        now_ms = self._now_ms()
        device = self._find(principal.person, hello.installation, unit)
        if device is None:
            device = unit.devices.register(principal.person, hello.installation, now_ms=now_ms)
        welcome = self._answer(principal, hello, device, unit)
        cursor = hello.cursor
        acknowledged = 0 if cursor is None or welcome.resume == "reset" else cursor.sequence
        if hello.counter > welcome.merged_through:
            # What it waits for, or has yet to send, may be older than what it has read (P5).
            acknowledged = min(acknowledged, device.acknowledged)
        unit.devices.acknowledge(device.n, acknowledged, now_ms=now_ms)
        return welcome

    def _greeting(self, principal: Principal, hello: Hello, unit: Unit) -> Welcome:
        device = self._find(principal.person, hello.installation, unit)
        if device is None:
            raise Unavailable("Only the primary can give a new installation its number.")
        welcome = self._answer(principal, hello, device, unit)
        # The primary may have judged mutations that this replica has not heard of: `merged_through`
        # must not be taken for the word of a database that has lost them. Nor may its number for a
        # device that has no cursor to tell of another database: a restored one gives others.
        is_unsure = hello.cursor is None or hello.counter > device.counter
        welcome.stale |= self._standing.is_replica and is_unsure
        return welcome

    def _resume(self, cursor: Cursor | None, unit: Unit) -> tuple[Resume, bool]:
        """Return how a device's sync resumes, and whether this database is behind it."""
        now, horizon = unit.meta.get("sequence"), unit.meta.get("horizon")
        known = None if cursor is None else adopted(cursor, unit)
        if known is None:
            # A replica that greets by itself cannot ask whether another database has followed.
            is_ahead = cursor is not None and self._standing.is_replica
            return ("current", True) if is_ahead else ("reset", False)
        if known.sequence < horizon:
            return "reset", False
        if known.sequence > now:
            return ("current", True) if self._standing.is_replica else ("reset", False)
        if known.sequence == now and known.backfill is None:
            return "current", False
        return "replay", False

    def _answer(
        self, principal: Principal, hello: Hello, device: DeviceRecord, unit: Unit
    ) -> Welcome:
        self.remember(device.n, principal.person)
        now_ms, now = self._now_ms(), unit.meta.get("sequence")
        resume, is_stale = self._resume(hello.cursor, unit)
        return Welcome(
            PROTOCOL_VERSION,
            device.n,
            unit.meta.get("database"),
            now,
            self._app.version,
            self._fingerprint,
            max(HybridClock(unit.meta.get("clock")).tick(now_ms), 0),
            resume,
            device.counter,
            measured_skew(device_clock=hello.clock, now_unix_ms=now_ms),
            stale=is_stale,
            replaced=replaced(unit),
        )

    def _noted(self, welcome: Welcome) -> Welcome:
        welcome.replicated = self._standing.replicated(welcome.sequence)
        return welcome

    def remember(self, device: int, person: str) -> None:
        """Keep in mind whose a device is, as the database or the primary has said."""
        if len(self._owners) >= SESSIONS_CACHED_MAX:
            self._owners.clear()
        self._owners[device] = person
