"""What a push becomes before the writer sees it: domain changes, or why they are malformed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from core.changes import Change
    from core.ids import PersonId

NEXT_COUNTER = 0
"""Counter of a mutation whose device is the node itself (REST, seeds): the writer numbers it."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a mutation is quarantined."""

    code: str
    message: str
    fields: tuple[str, ...] = ()
    content: bytes = b""


class PreparedMutation(NamedTuple):
    """One mutation, parsed. `seen` is the largest clock value its author says it had read."""

    counter: int
    h: int
    seen: int
    hash: bytes
    changes: tuple[Change[Any], ...] = ()
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class PreparedPush:
    """One push of one device. `person` None: the primary's own changes, judged by nobody."""

    device: int
    person: PersonId | None
    clock: int | None
    """The device's clock at sending; None when the stamps are the node's own."""
    mutations: list[PreparedMutation] = field(default_factory=list[PreparedMutation])
