"""What every process knows by heart: keys that verify, what was revoked, which tenants are served,
which nodes there are.

Read from the control database at start and whenever it has changed, so that verifying a token and
checking revocation ask nobody.

Invariants
  R1  a revocation counts in this process at most POLL_S and one read after its commit
  R2  until the control database was read once, nothing but an operator's own key is trusted
  R3  an operator's key file never outweighs a revoked key of the same id
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from core.identity.keys import VERIFYING, KeyState
from core.identity.tenants import TenantEntry, TenantState
from edge.errors import EdgeError, Forbidden, Unauthenticated, UnknownTenant
from edge.ports.keys import TrustedKey
from edge.services.fleet.models import leadership_of, node_of
from edge.services.identity.models import key_of, tenant_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.fleet import Leadership, NodeEntry
    from core.identity.keys import NodeKey
    from core.ids import TenantId
    from edge.ports.identity_records import RevocationRecord
    from edge.ports.identity_stores import ControlDatabase, ControlUnit
    from edge.services.keys import KeyRing
    from edge.services.session import Principal

POLL_S: Final = 0.02
"""Asking the database whether it has changed costs some 50 microseconds; every process does it."""
REVOCATIONS_PER_READ_MAX: Final = 10_000
_REVOKED: Final = "The session has ended."
_NOT_TAKEN: Final = "The token is not one that this node takes."
_log = structlog.stdlib.get_logger(__name__)


@dataclass(slots=True)
class _Known:
    """One reading of the control database."""

    keys: dict[str, TrustedKey] = field(default_factory=dict[str, TrustedKey])
    listed: list[NodeKey] = field(default_factory=list["NodeKey"])
    revoked_keys: set[str] = field(default_factory=set[str])
    tenants: dict[str, TenantEntry] = field(default_factory=dict[str, TenantEntry])
    active: dict[str, str] = field(default_factory=dict[str, str])
    """The key id that a node signs with."""
    nodes: dict[str, NodeEntry] = field(default_factory=dict[str, "NodeEntry"])
    leadership: Leadership | None = None


class Trust:
    """Implements TokenTrust over the control database, with an operator's key files beside it."""

    def __init__(
        self,
        control: ControlDatabase,
        files: KeyRing,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._control = control
        self._files = files
        self._clock = clock
        self._known = _Known()
        self._sessions: dict[tuple[str, str], tuple[int, int]] = {}
        self._people: dict[tuple[str, str], tuple[int, int]] = {}
        self._last = 0
        self._version: int | None = None
        self._listeners: list[Callable[[RevocationRecord], None]] = []
        self._one_read = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def listen(self, listener: Callable[[RevocationRecord], None]) -> None:
        """Call back with every revocation that becomes known; streams end by it."""
        self._listeners.append(listener)

    async def start(self) -> None:
        """Read for the first time, then follow in the background."""
        await self.refresh()
        self._task = asyncio.create_task(self._follow(), name="trust")

    async def close(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def refresh(self) -> None:
        """Read what has changed since the last time; services call it after a commit of theirs."""
        async with self._one_read:
            version = await self._control.version()
            if version == self._version:
                return
            more = True
            while more:
                known, revocations = await self._control.read(self._read)
                self._known = known
                for revocation in revocations:
                    self._take(revocation)
                more = len(revocations) == REVOCATIONS_PER_READ_MAX
            self._version = version
            self._forget()

    def find(self, kid: str) -> TrustedKey | None:
        """Return the key that verifies tokens naming `kid`."""
        found = self._known.keys.get(kid)
        if found is not None:
            return found
        if kid in self._known.revoked_keys:
            return None
        return self._files.find(kid)

    def keys(self) -> list[NodeKey]:
        """Return every key that verifies, for publishing."""
        return [key for key in self._known.listed if key.state in VERIFYING]

    def tenant(self, tenant: str) -> TenantEntry | None:
        """Return a tenant as last read."""
        return self._known.tenants.get(tenant)

    def require_served(self, tenant: str) -> TenantEntry:
        """Return a tenant that is served; raise UnknownTenant or Forbidden (suspended)."""
        entry = self._known.tenants.get(tenant)
        if entry is None or entry.state is TenantState.ERASED:
            raise UnknownTenant("This node does not serve this tenant.")
        if entry.state is TenantState.SUSPENDED:
            raise Forbidden("This tenant is suspended.")
        return entry

    def node(self, name: str) -> NodeEntry | None:
        """Return a node as last read, removed ones too."""
        return self._known.nodes.get(name)

    def nodes(self) -> list[NodeEntry]:
        """Return every node by name, removed ones too."""
        return list(self._known.nodes.values())

    def served_in(self, region: str) -> list[TenantId]:
        """Return the tenants that are served in a region: those pinned to it, or to none."""
        return [
            entry.tenant
            for entry in self._known.tenants.values()
            if entry.state is not TenantState.ERASED
            and (not region or not entry.regions or region in entry.regions)
        ]

    def leadership(self) -> Leadership | None:
        """Return who is the primary, or None before the first."""
        return self._known.leadership

    def active_kid(self, node: str) -> str | None:
        """Return the id of the key that a node signs with."""
        return self._known.active.get(node)

    def require_good(
        self, principal: Principal, key: TrustedKey, *, at_unix_s: int | None = None
    ) -> None:
        """Raise for what was revoked, suspended, or is not the key's node's to say.

        With `at_unix_s` what was revoked after that moment does not count: the request was
        accepted then.
        """
        tenant = principal.tenant
        if key.node and principal.is_operator:
            raise Unauthenticated(_NOT_TAKEN)  # only an operator's own key says who operates
        entry = self._known.tenants.get(tenant)
        if entry is not None:
            if entry.state is not TenantState.ACTIVE and not principal.is_operator:
                self.require_served(tenant)
            if key.node and not key.authority.covers(
                tenant_regions=entry.regions, scopes=principal.scopes
            ):
                raise Unauthenticated(_NOT_TAKEN)
        elif not principal.is_operator:
            raise UnknownTenant("This node does not serve this tenant.")
        if principal.session:
            ended = self._sessions.get((tenant, principal.session))
            if ended is not None and (at_unix_s is None or ended[0] <= at_unix_s):
                raise Unauthenticated(_REVOKED)
        elif self._people:
            ended = self._people.get((tenant, principal.person))
            if (
                ended is not None
                and principal.issued_unix_s <= ended[0]
                and (at_unix_s is None or ended[0] <= at_unix_s)
            ):
                raise Unauthenticated(_REVOKED)

    def _read(self, unit: ControlUnit) -> tuple[_Known, list[RevocationRecord]]:
        known = _Known()
        for record in unit.keys.all():
            key = key_of(record)
            known.listed.append(key)
            if key.state is KeyState.REVOKED:
                known.revoked_keys.add(key.kid)
            else:
                known.keys[key.kid] = self._trusted(key)
            if key.state is KeyState.ACTIVE:
                known.active[key.node] = key.kid
        for tenant in unit.tenants.all():
            known.tenants[tenant.tenant] = tenant_of(tenant)
        for node in unit.nodes.all():
            known.nodes[node.node] = node_of(node)
        known.leadership = leadership_of(unit.nodes.leadership())
        return known, unit.revocations.after(self._last, limit=REVOCATIONS_PER_READ_MAX)

    def _trusted(self, key: NodeKey) -> TrustedKey:
        """Return the same object as before for the same key: the token cache compares objects."""
        before = self._known.keys.get(key.kid)
        if before is not None and before.authority == key.authority and before.node == key.node:
            return before
        return TrustedKey(Ed25519PublicKey.from_public_bytes(key.public), key.node, key.authority)

    def _take(self, revocation: RevocationRecord) -> None:
        self._last = max(self._last, revocation.id)
        subject = (revocation.tenant, revocation.subject)
        if revocation.kind == "session":
            first_s = min(revocation.at_s, self._sessions.get(subject, (revocation.at_s, 0))[0])
            self._sessions[subject] = (first_s, revocation.until_s)
        else:
            before = self._people.get(subject, (0, 0))
            self._people[subject] = (
                max(before[0], revocation.at_s),
                max(before[1], revocation.until_s),
            )
        for listener in self._listeners:
            listener(revocation)

    def _forget(self) -> None:
        """Drop what no token can be concerned by any more; dictionaries keep their order."""
        now = self._clock()
        for subject, (_, until_s) in list(self._sessions.items()):
            if until_s > now:
                break
            del self._sessions[subject]
        for subject, (_, until_s) in list(self._people.items()):
            if until_s <= now:
                del self._people[subject]

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            try:
                await self.refresh()
            except EdgeError as error:
                _log.warning("trust-not-refreshed", reason=error.message)
