"""Domain objects from records and back: the only place where the two meet."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from core.identity.accounts import Account, AccountKind, AccountState
from core.identity.keys import Authority, KeyState, NodeKey
from core.identity.sessions import Session, SessionState
from core.identity.tenants import TenantEntry, TenantSettings, TenantState
from core.ids import PersonId, TenantId
from edge.ports.identity_records import AccountRecord, KeyRecord, SessionRecord, TenantRecord

if TYPE_CHECKING:
    from core.identity.proofs import Proof


@dataclass(frozen=True, slots=True)
class NewDevice:
    """A device that signs in: its Ed25519 public key (32 bytes), a name, and a proof it has it."""

    public: bytes
    name: str
    proof: Proof


@dataclass(frozen=True, slots=True)
class SignedIn:
    """What a device gets: who it is now, its session, and both tokens."""

    account: Account
    session: Session
    refresh_token: str
    access_token: str
    expires_in_s: int


@dataclass(frozen=True, slots=True)
class Begun:
    """A flow that was begun: its id, and until when (Unix ms) it may be finished."""

    flow: str
    expires_ms: int


def account_of(record: AccountRecord) -> Account:
    """Return the account that a record holds."""
    return Account(
        TenantId(record.tenant),
        PersonId(record.person),
        AccountKind(record.kind),
        AccountState(record.state),
        record.name,
        frozenset(record.scopes),
        record.created_ms,
    )


def account_record(account: Account) -> AccountRecord:
    """Return the record that holds an account."""
    return AccountRecord(
        account.tenant,
        account.person,
        account.kind.value,
        account.state.value,
        account.name,
        tuple(sorted(account.scopes)),
        account.created_ms,
    )


def session_of(record: SessionRecord) -> Session:
    """Return the session that a record holds."""
    return Session(
        TenantId(record.tenant),
        record.id,
        PersonId(record.person),
        record.device,
        SessionState(record.state),
        record.generation,
        record.current,
        record.previous,
        record.salt,
        record.created_ms,
        record.refreshed_ms,
        record.expires_ms,
        record.proved_s,
        record.methods,
        record.reason,
    )


def session_record(session: Session) -> SessionRecord:
    """Return the record that holds a session."""
    return SessionRecord(
        session.tenant,
        session.id,
        session.person,
        session.device,
        session.state.value,
        session.generation,
        session.current,
        session.previous,
        session.salt,
        session.created_ms,
        session.refreshed_ms,
        session.expires_ms,
        session.proved_s,
        session.methods,
        session.reason,
    )


def key_of(record: KeyRecord) -> NodeKey:
    """Return the key that a record holds."""
    authority = Authority(
        frozenset(record.authority.get("regions", ())),
        frozenset(record.authority.get("scopes", ())),
    )
    return NodeKey(
        record.kid,
        record.node,
        KeyState(record.state),
        record.public,
        authority,
        record.created_ms,
        record.changed_ms,
    )


def key_record(key: NodeKey) -> KeyRecord:
    """Return the record that holds a key."""
    authority = {
        "regions": sorted(key.authority.regions),
        "scopes": sorted(key.authority.scopes),
    }
    return KeyRecord(
        key.kid, key.node, key.state.value, key.public, authority, key.created_ms, key.changed_ms
    )


def tenant_of(record: TenantRecord) -> TenantEntry:
    """Return the tenant that a record holds."""
    settings = {k: v for k, v in record.settings.items() if k in TenantSettings.__slots__}
    return TenantEntry(
        TenantId(record.tenant),
        TenantState(record.state),
        record.regions,
        TenantSettings(**settings),
        record.created_ms,
    )


def tenant_record(entry: TenantEntry) -> TenantRecord:
    """Return the record that holds a tenant."""
    return TenantRecord(
        entry.tenant,
        entry.state.value,
        entry.regions,
        asdict(entry.settings),
        entry.created_ms,
    )
