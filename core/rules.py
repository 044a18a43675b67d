"""Business rules: pure functions `(actor, before, change) -> Accept | Reject | Derive`.

A rule decides whether a mutation enters; it never merges. Returning None accepts. A rule that
raises rejects the mutation with code `rule-failed`: its failure is a receipt, never a crash.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from core.changes import Change
from core.errors import DeclarationError
from core.ids import is_name

if TYPE_CHECKING:
    from core.ids import DeviceNumber, PersonId


class Actor(NamedTuple):
    """Who asks: the person, the role it has in the row's space, the device, and the time.

    `at_unix_ms` is the mutation's effective time; rules must take the time from here.
    """

    person: PersonId
    role: str | None
    device: DeviceNumber
    at_unix_ms: int


@dataclass(frozen=True, slots=True)
class Accept:
    """Let the change in."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Keep the whole mutation out; `code` is kebab-case and stable, `message` is for the person."""

    code: str
    message: str
    fields: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not is_name(self.code.replace("-", "_")):
            raise DeclarationError(f"a reject code is kebab-case, not {self.code!r}")


@dataclass(frozen=True, slots=True)
class Derive:
    """Let the change in, and merge these changes of the primary's own in the same commit.

    Derived changes carry raw payloads (as a device would send them), are validated, and are neither
    judged by rules nor by policies: the primary is their author.
    """

    changes: tuple[Change[Any], ...] = field(default=())


RuleAnswer = Accept | Reject | Derive | None
Rule = Callable[[Actor, Any, Any], RuleAnswer]
