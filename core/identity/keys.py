r"""Signing keys: their life, and what tokens signed with one are worth.

    standby --activate--> active --replace--> previous --(its tokens have ended)--> gone
        \________________________ revoke ________________________/

Invariants
  K1  a node has one active key at most, and signs with no other
  K2  a token is worth only what its key's node may sign, whatever the token says
  K3  a revoked key never verifies anything again
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ANY: Final = "*"


class KeyState(StrEnum):
    """Where a key is in its life."""

    STANDBY = "standby"
    """Published before it is used, so that every node knows it in time."""
    ACTIVE = "active"
    PREVIOUS = "previous"
    """Signs no more; what it has signed stays good until it expires."""
    REVOKED = "revoked"


VERIFYING: Final = frozenset({KeyState.STANDBY, KeyState.ACTIVE, KeyState.PREVIOUS})

TRANSITIONS: Final[Mapping[tuple[KeyState, str], KeyState]] = {
    (KeyState.STANDBY, "activate"): KeyState.ACTIVE,
    (KeyState.ACTIVE, "replace"): KeyState.PREVIOUS,
    (KeyState.STANDBY, "revoke"): KeyState.REVOKED,
    (KeyState.ACTIVE, "revoke"): KeyState.REVOKED,
    (KeyState.PREVIOUS, "revoke"): KeyState.REVOKED,
    (KeyState.REVOKED, "revoke"): KeyState.REVOKED,
}


def moved(state: KeyState, step: str) -> KeyState:
    """Return the state after a step; an unknown pair is our mistake and raises KeyError."""
    return TRANSITIONS[state, step]


@dataclass(frozen=True, slots=True)
class Authority:
    """What a node may sign: for which regions' tenants, with which scopes; `*` stands for all."""

    regions: frozenset[str] = frozenset({ANY})
    scopes: frozenset[str] = frozenset({ANY})

    def covers(self, *, tenant_regions: Iterable[str], scopes: Iterable[str]) -> bool:
        """Tell whether a token for a tenant pinned to some regions (none: to all) is worth it."""
        if ANY not in self.scopes and not self.scopes.issuperset(scopes):
            return False
        if ANY in self.regions:
            return True
        pinned = frozenset(tenant_regions)
        return not pinned or not self.regions.isdisjoint(pinned)


@dataclass(frozen=True, slots=True)
class NodeKey:
    """One public key: who signs with it, in which state it is, and what it may sign.

    `public` holds the 32 bytes of an Ed25519 key; `created_ms`, `changed_ms` are Unix milliseconds.
    """

    kid: str
    node: str
    state: KeyState
    public: bytes
    authority: Authority
    created_ms: int
    changed_ms: int
