"""What identity services need of their two databases.

The control database is replicated to every node: tenants, accounts, credentials, device keys,
sessions, signing keys, revocations, audit, nodes. The vault stays with the primary: password
hashes, flows under way, tokens that nodes join with. Every method that concerns one tenant takes it
and touches no other tenant's rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from edge.ports.fleet import NodeStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge.ports.identity_records import (
        AccountRecord,
        AuditRecord,
        CredentialRecord,
        DeviceKeyRecord,
        FlowRecord,
        KeyRecord,
        RevocationRecord,
        SessionRecord,
        TenantRecord,
    )

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class JoinRecord:
    """A token that one new node joins with: its SHA-256, and whose it is.

    `keys` names the keys it was used for ("": none yet); `expires_ms` is Unix ms.
    """

    hash: bytes
    node: str
    region: str
    keys: str
    expires_ms: int


class TenantStore(Protocol):
    """Tenants."""

    def get(self, tenant: str) -> TenantRecord | None:
        """Return a tenant, erased ones too."""
        ...

    def all(self) -> list[TenantRecord]:
        """Return every tenant by name, erased ones too."""
        ...

    def put(self, record: TenantRecord) -> None:
        """Store."""
        ...

    def erase(self, tenant: str) -> None:
        """Drop accounts, credentials, devices, sessions, revocations and audit of a tenant."""
        ...


class AccountStore(Protocol):
    """Accounts of people."""

    def get(self, tenant: str, person: str) -> AccountRecord | None:
        """Return one account."""
        ...

    def put(self, record: AccountRecord) -> None:
        """Store."""
        ...

    def list(self, tenant: str, *, after: str, limit: int) -> list[AccountRecord]:
        """Return accounts in the order of their person ids, after one."""
        ...

    def erase(self, tenant: str, person: str) -> None:
        """Drop the account with its credentials, devices and sessions."""
        ...


class CredentialStore(Protocol):
    """Ways in."""

    def find(self, tenant: str, kind: str, subject: str) -> CredentialRecord | None:
        """Return the credential that a subject signs in with."""
        ...

    def of_person(self, tenant: str, person: str) -> list[CredentialRecord]:
        """Return a person's credentials, oldest first."""
        ...

    def add(self, record: CredentialRecord) -> bool:
        """Store a new one; False when (tenant, kind, subject) is taken."""
        ...

    def used(self, tenant: str, credential: str, *, counter: int, at_ms: int) -> None:
        """Note a use."""
        ...

    def remove(self, tenant: str, person: str, credential: str) -> bool:
        """Drop one of a person's credentials; False when there is no such one."""
        ...

    def of_kind(self, tenant: str, kind: str, *, after: str, limit: int) -> list[CredentialRecord]:
        """Return credentials of one kind in the order of their ids."""
        ...


class DeviceKeyStore(Protocol):
    """Keys of phones."""

    def get(self, tenant: str, device: str) -> DeviceKeyRecord | None:
        """Return one device's key."""
        ...

    def put(self, record: DeviceKeyRecord) -> None:
        """Store; a device that changes hands keeps its id and key."""
        ...

    def of_person(self, tenant: str, person: str) -> list[DeviceKeyRecord]:
        """Return a person's devices."""
        ...


class SessionStore(Protocol):
    """Sessions."""

    def get(self, tenant: str, session: str) -> SessionRecord | None:
        """Return one session, ended ones too while they are kept."""
        ...

    def put(self, record: SessionRecord) -> None:
        """Store."""
        ...

    def rotate(self, record: SessionRecord, *, from_generation: int) -> bool:
        """Store the next generation if the stored one is `from_generation` and active."""
        ...

    def active(self, tenant: str, person: str, *, now_ms: int) -> list[SessionRecord]:
        """Return a person's active sessions, newest first."""
        ...

    def end(self, tenant: str, sessions: Sequence[str], *, reason: str) -> None:
        """End sessions."""
        ...

    def trim(self, *, before_ms: int, limit: int) -> int:
        """Drop sessions of any tenant that expired, or ended and were last used, before a time."""
        ...


class KeyStore(Protocol):
    """Public halves of signing keys."""

    def all(self) -> list[KeyRecord]:
        """Return every key."""
        ...

    def put(self, record: KeyRecord) -> None:
        """Store."""
        ...

    def remove(self, kid: str) -> None:
        """Drop a key that nothing signed with is good any more."""
        ...


class RevocationStore(Protocol):
    """Revocations, in the order they were made."""

    def add(self, tenant: str, kind: str, subject: str, *, at_s: int, until_s: int) -> None:
        """Append one."""
        ...

    def after(self, number: int, *, limit: int) -> list[RevocationRecord]:
        """Return revocations of all tenants after an id, oldest first."""
        ...

    def trim(self, *, now_s: int) -> None:
        """Drop those whose tokens have all ended."""
        ...


class AuditStore(Protocol):
    """The audit trail."""

    def add(self, record: AuditRecord) -> None:
        """Append; the record's id is ignored."""
        ...

    def list(
        self, tenant: str, *, subject: str | None, after: int, limit: int
    ) -> list[AuditRecord]:
        """Return entries of a tenant after an id, oldest first; `subject` also matches actors."""
        ...

    def pseudonymise(self, tenant: str, person: str, *, pseudonym: str) -> None:
        """Replace a person as actor and subject; those entries lose address and detail."""
        ...

    def trim(self, *, before_ms: int, limit: int) -> int:
        """Drop entries of any tenant older than a time."""
        ...


class ControlUnit(Protocol):
    """All stores of the control database in one transaction."""

    @property
    def tenants(self) -> TenantStore:
        """Tenants."""
        ...

    @property
    def accounts(self) -> AccountStore:
        """Accounts."""
        ...

    @property
    def credentials(self) -> CredentialStore:
        """Credentials."""
        ...

    @property
    def devices(self) -> DeviceKeyStore:
        """Device keys."""
        ...

    @property
    def sessions(self) -> SessionStore:
        """Sessions."""
        ...

    @property
    def keys(self) -> KeyStore:
        """Signing keys."""
        ...

    @property
    def revocations(self) -> RevocationStore:
        """Revocations."""
        ...

    @property
    def audit(self) -> AuditStore:
        """Audit trail."""
        ...

    @property
    def nodes(self) -> NodeStore:
        """Nodes."""
        ...


class ControlDatabase(Protocol):
    """The control database: read on every node, written by the primary alone."""

    async def read(self, work: Callable[[ControlUnit], T]) -> T:
        """Run `work` on one snapshot."""
        ...

    async def write(self, work: Callable[[ControlUnit], T]) -> T:
        """Run `work` in a transaction: durable on return, nothing of it on raise."""
        ...

    async def version(self) -> int:
        """Return a number that changes with every tenant, key, revocation and node; cheap."""
        ...

    async def close(self) -> None:
        """Close the database."""
        ...


class SecretStore(Protocol):
    """Password hashes by credential."""

    def get(self, tenant: str, credential: str) -> str | None:
        """Return a hash."""
        ...

    def put(self, tenant: str, credential: str, secret: str) -> None:
        """Store."""
        ...

    def remove(self, tenant: str, credential: str) -> None:
        """Drop."""
        ...


class FlowStore(Protocol):
    """Flows under way."""

    def add(self, record: FlowRecord) -> None:
        """Store a new one."""
        ...

    def get(self, tenant: str, flow: str) -> FlowRecord | None:
        """Return one without using it up."""
        ...

    def take(self, tenant: str, flow: str) -> FlowRecord | None:
        """Return one and drop it: whoever takes it is the only one."""
        ...

    def failed(self, tenant: str, flow: str) -> None:
        """Count a wrong code."""
        ...

    def open_count(self, tenant: str, purpose: str, subject: str) -> int:
        """Return how many flows of a purpose a subject has under way."""
        ...

    def trim(self, *, now_ms: int, limit: int) -> int:
        """Drop flows of any tenant that have expired."""
        ...


class JoinStore(Protocol):
    """One-time tokens that new nodes join with."""

    def add(self, record: JoinRecord) -> None:
        """Store a new one; the node's earlier ones are worth nothing any more."""
        ...

    def get(self, token_hash: bytes) -> JoinRecord | None:
        """Return one, used or not."""
        ...

    def use(self, token_hash: bytes, keys: str) -> bool:
        """Use one up for some keys; False when it was used for other ones."""
        ...

    def trim(self, *, now_ms: int) -> int:
        """Drop those that have expired."""
        ...


class VaultUnit(Protocol):
    """All stores of the vault in one transaction."""

    @property
    def secrets(self) -> SecretStore:
        """Password hashes."""
        ...

    @property
    def flows(self) -> FlowStore:
        """Flows."""
        ...

    @property
    def joins(self) -> JoinStore:
        """Tokens that nodes join with."""
        ...

    def erase(self, tenant: str, person: str | None = None) -> None:
        """Drop what is kept of a tenant; with `person`, only the flows of that person."""
        ...


class VaultDatabase(Protocol):
    """The vault: on the primary alone, never replicated."""

    async def dump(self) -> bytes:
        """Return what is kept for good, for the next primary."""
        ...

    async def read(self, work: Callable[[VaultUnit], T]) -> T:
        """Run `work` on one snapshot."""
        ...

    async def write(self, work: Callable[[VaultUnit], T]) -> T:
        """Run `work` in a transaction: durable on return, nothing of it on raise."""
        ...

    async def close(self) -> None:
        """Close the database."""
        ...
