"""Persistence records of the control database and the vault: plain, frozen, one per table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class TenantRecord:
    """A tenant; `regions` and `settings` are JSON-able."""

    tenant: str
    state: str
    regions: tuple[str, ...]
    settings: dict[str, Any]
    created_ms: int


@dataclass(frozen=True, slots=True)
class AccountRecord:
    """A person of a tenant; `scopes` are words."""

    tenant: str
    person: str
    kind: str
    state: str
    name: str
    scopes: tuple[str, ...]
    created_ms: int


@dataclass(frozen=True, slots=True)
class CredentialRecord:
    """A way in, found by (tenant, kind, subject); `public` is what verifies it, if it is public.

    Secrets (password hashes) are in the vault under this credential's id. `label` is for people,
    `counter` a passkey's signature count.
    """

    tenant: str
    id: str
    person: str
    kind: str
    subject: str
    public: bytes
    label: str
    counter: int
    created_ms: int
    used_ms: int


@dataclass(frozen=True, slots=True)
class DeviceKeyRecord:
    """A device's Ed25519 public key (32 bytes); `id` is derived from it."""

    tenant: str
    id: str
    person: str
    public: bytes
    name: str
    created_ms: int


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A signed-in device; see core.identity.sessions.Session for what the values mean."""

    tenant: str
    id: str
    person: str
    device: str
    state: str
    generation: int
    current: bytes
    previous: bytes
    salt: bytes
    created_ms: int
    refreshed_ms: int
    expires_ms: int
    proved_s: int
    methods: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A node's public signing key; `authority` is JSON-able."""

    kid: str
    node: str
    state: str
    public: bytes
    authority: dict[str, Any]
    created_ms: int
    changed_ms: int


@dataclass(frozen=True, slots=True)
class RevocationRecord:
    """What is worth nothing from now on; kept until `until_s`, when every token has ended anyway.

    `kind` is `session` (subject: its id), or `person` (subject: the person; tokens without a
    session that were issued up to `at_s`). Times are Unix seconds.
    """

    id: int
    tenant: str
    kind: str
    subject: str
    at_s: int
    until_s: int


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """Who did what to whom, when (Unix ms), from which address; `detail` is JSON-able."""

    id: int
    tenant: str
    at_ms: int
    actor: str
    action: str
    subject: str
    address: str
    detail: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class FlowRecord:
    """Something begun that one later request may finish, once: a mailed code, a challenge, a nonce.

    `purpose` says which way in it belongs to, `person` who began it ("" before sign-in), `subject`
    what it is about (an address), `code` the SHA-256 of what finishes it, `secret` a password hash
    that waits, `attempts` how many wrong codes were tried.
    """

    tenant: str
    id: str
    purpose: str
    person: str
    subject: str
    code: bytes
    secret: str
    attempts: int
    expires_ms: int
