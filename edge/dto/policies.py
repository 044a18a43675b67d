"""Who may call which operation: one line each. An operation without a policy does not start.

These are the doors; behind them the app's own policies and rules decide about rows, and services
about spaces.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from core.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Policy(StrEnum):
    """What a caller has to bring."""

    PUBLIC = "public"
    """Nothing: ways in, keys, health, the API's description. Served without looking at a token."""
    PERSON = "person"
    """A good token of the tenant."""
    FRESH = "fresh"
    """A person who has proved who they are within FRESH_S."""
    ADMIN = "admin"
    """A token with the scope `admin`: its own tenant only."""
    ADMIN_FRESH = "admin-fresh"
    """An administrator who has proved who they are within FRESH_S."""
    OPERATOR = "operator"
    """A token with the scope `operator`, which only an operator's own key signs."""


FRESH_S: Final = 300

ROW_VERBS: Final = ("list", "insert", "get", "edit", "delete", "restore")
POLICIES: Final[Mapping[str, Policy]] = {
    "health.live": Policy.PUBLIC,
    "health.ready": Policy.PUBLIC,
    "health.fresh": Policy.PUBLIC,
    "openapi": Policy.PUBLIC,
    "docs": Policy.PUBLIC,
    "docs.script": Policy.PUBLIC,
    "docs.style": Policy.PUBLIC,
    # The gate decides about metrics: public on loopback, otherwise for administrators.
    "metrics": Policy.PUBLIC,
    "sync.hello": Policy.PERSON,
    "sync.push": Policy.PERSON,
    "sync.pull": Policy.PERSON,
    "sync.repair": Policy.PERSON,
    "sync.stream": Policy.PERSON,
    "receipts.list": Policy.PERSON,
    "conflicts.list": Policy.PERSON,
    "spaces.mine": Policy.PERSON,
    "spaces.create": Policy.PERSON,
    "members.list": Policy.PERSON,
    "members.set": Policy.PERSON,
    "members.remove": Policy.PERSON,
    "invitations.create": Policy.PERSON,
    "invitations.list": Policy.PERSON,
    "invitations.revoke": Policy.PERSON,
    "invitations.accept": Policy.PERSON,
}


def all_policies(collections: Iterable[str], further: Mapping[str, Policy]) -> dict[str, Policy]:
    """Return the policy of every operation of a node that serves these collections."""
    rows = {f"{name}.{verb}": Policy.PERSON for name in collections for verb in ROW_VERBS}
    return {**POLICIES, **further, **rows}


def require_policies(operations: Iterable[str], policies: Mapping[str, Policy]) -> None:
    """Raise DeclarationError for operations that nobody has decided about."""
    missing = sorted(set(operations) - set(policies))
    if missing:
        raise DeclarationError(f"operations without a policy: {', '.join(missing)}")
