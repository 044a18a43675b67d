"""The fleet's objects from records and claims, and back: the only place where they meet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec

from core.fleet import Leadership, NodeEntry, NodeState
from core.ids import INTEGER_MAX, PersonId, TenantId
from edge.ports.fleet import NodeRecord
from edge.services.session import Principal

if TYPE_CHECKING:
    from collections.abc import Mapping

_Id = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}\Z")]
_Word = Annotated[str, msgspec.Meta(max_length=256)]
_Seconds = Annotated[int, msgspec.Meta(ge=0, le=INTEGER_MAX)]
_Words = Annotated[list[_Word], msgspec.Meta(max_length=256)]


class PrincipalClaim(msgspec.Struct, forbid_unknown_fields=True):
    """A verified token as one node tells it to another; times in Unix seconds."""

    tenant: _Id
    person: _Id
    expires: _Seconds
    issued: _Seconds = 0
    scopes: _Words = []
    session: _Word = ""
    device: _Word = ""
    proved: _Seconds = 0
    methods: _Words = []


_decode_principal = msgspec.json.Decoder(PrincipalClaim).decode


def node_of(record: NodeRecord) -> NodeEntry:
    """Return the node that a record holds."""
    return NodeEntry(
        record.node,
        record.region,
        record.url,
        record.grpc_url,
        NodeState(record.state),
        record.joined_ms,
    )


def node_record(entry: NodeEntry) -> NodeRecord:
    """Return the record that holds a node."""
    return NodeRecord(
        entry.node, entry.region, entry.url, entry.grpc_url, entry.state.value, entry.joined_ms
    )


def leadership_of(stored: tuple[int, str, str, str] | None) -> Leadership | None:
    """Return who is the primary, as a NodeStore holds it."""
    return None if stored is None else Leadership(*stored)


def claim_of(principal: Principal) -> PrincipalClaim:
    """Return what one node tells another of a principal."""
    return PrincipalClaim(
        principal.tenant,
        principal.person,
        principal.expires_unix_s,
        principal.issued_unix_s,
        sorted(principal.scopes),
        principal.session,
        principal.device,
        principal.proved_unix_s,
        sorted(principal.methods),
    )


def principal_of_claim(claim: PrincipalClaim) -> Principal:
    """Return the principal that a claim tells of."""
    return Principal(
        tenant=TenantId(claim.tenant),
        person=PersonId(claim.person),
        scopes=frozenset(claim.scopes),
        expires_unix_s=claim.expires,
        issued_unix_s=claim.issued,
        session=claim.session,
        device=claim.device,
        proved_unix_s=claim.proved,
        methods=frozenset(claim.methods),
    )


def principal_to_json(principal: Principal) -> bytes:
    """Return a principal as an outbox keeps it."""
    return msgspec.json.encode(claim_of(principal))


def principal_from_json(text: bytes) -> Principal:
    """Return what `principal_to_json` has encoded; raises msgspec.ValidationError."""
    return principal_of_claim(_decode_principal(text))


def plain(claim: PrincipalClaim) -> Mapping[str, object]:
    """Return a claim as plain JSON values."""
    return msgspec.to_builtins(claim)
