"""Administration over REST: accounts, service tokens, audit, tenants, keys, explanations."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from edge.dto.identity import Id, Name

Scope = Annotated[str, msgspec.Meta(pattern="^[a-z]{1,32}$")]
Region = Annotated[str, msgspec.Meta(pattern="^[a-z0-9-]{1,32}$")]


class AccountAnswer(msgspec.Struct):
    """One account."""

    person: str
    kind: str
    state: str
    name: str
    scopes: list[str]
    created_ms: int


class AccountList(msgspec.Struct):
    """Accounts by person; the last one's id is the next `after`."""

    accounts: list[AccountAnswer]


class AccountChange(msgspec.Struct, forbid_unknown_fields=True):
    """What is to change; what is left out stays."""

    name: Name | None = None
    state: Literal["active", "disabled"] | None = None
    scopes: Annotated[list[Scope], msgspec.Meta(max_length=16)] | None = None


class NewServiceToken(msgspec.Struct, forbid_unknown_fields=True):
    """A service that is to get a token."""

    name: Name
    scopes: Annotated[list[Scope], msgspec.Meta(max_length=16)] = []


class ServiceTokenAnswer(msgspec.Struct):
    """One service token, without its secret."""

    id: str
    person: str
    name: str
    created_ms: int


class NewServiceTokenAnswer(msgspec.Struct):
    """A new service token; it is shown this once."""

    id: str
    person: str
    token: str


class ServiceTokenList(msgspec.Struct):
    """Service tokens by id."""

    tokens: list[ServiceTokenAnswer]


class AuditEntry(msgspec.Struct):
    """Who did what to whom, when (Unix ms) and from where."""

    id: int
    at_ms: int
    actor: str
    action: str
    subject: str
    address: str
    detail: dict[str, Any]


class AuditPage(msgspec.Struct):
    """Entries, oldest first; the last one's id is the next `after`."""

    entries: list[AuditEntry]


class TenantAnswer(msgspec.Struct):
    """One tenant."""

    tenant: str
    state: str
    regions: list[str]
    anonymous: bool
    registration: bool
    created_ms: int


class TenantList(msgspec.Struct):
    """Tenants by name."""

    tenants: list[TenantAnswer]


class NewTenant(msgspec.Struct, forbid_unknown_fields=True):
    """A tenant that is to be made."""

    tenant: Id
    regions: Annotated[list[Region], msgspec.Meta(max_length=64)] = []


class TenantChange(msgspec.Struct, forbid_unknown_fields=True):
    """What is to change; what is left out stays."""

    state: Literal["active", "suspended"] | None = None
    regions: Annotated[list[Region], msgspec.Meta(max_length=64)] | None = None
    anonymous: bool | None = None
    registration: bool | None = None


class TenantSettingsChange(msgspec.Struct, forbid_unknown_fields=True):
    """What administrators may change of their own tenant."""

    anonymous: bool | None = None
    registration: bool | None = None


class KeyAnswer(msgspec.Struct):
    """A node's signing key."""

    kid: str
    node: str
    state: str
    created_ms: int
    changed_ms: int


class KeyList(msgspec.Struct):
    """Signing keys of every node."""

    keys: list[KeyAnswer]


class ExplainBody(msgspec.Struct, forbid_unknown_fields=True):
    """May this person do this to this row? `fields` are payloads as a device would send them."""

    person: Id
    operation: Literal["read", "insert", "edit", "delete", "restore"]
    collection: Annotated[str, msgspec.Meta(max_length=48)]
    row: Id
    space: Id | None = None
    fields: dict[str, Any] = {}


class ExplainStep(msgspec.Struct):
    """One rule that was asked, and what it said."""

    rule: str
    outcome: str
    message: str


class ExplainAnswer(msgspec.Struct):
    """The verdict, and the rules in the order they were asked."""

    allowed: bool
    code: str
    message: str
    steps: list[ExplainStep]
