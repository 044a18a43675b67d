"""Tree parent: moving a row under another; the latest move wins, and cycles are broken.

An LWW-register (Shapiro et al. 2011, section 3.2.1) that holds a row id or null. Two concurrent
moves can close a cycle that neither closes alone (Kleppmann et al. 2021, "A highly-available move
operation for replicated trees"): the primary asks `closes_cycle` and re-parents the loser by a
change of its own. Payload: row id or null. State: [h, n, row id or null].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from core.crdt.field import Register
from core.errors import FieldError
from core.ids import is_id

if TYPE_CHECKING:
    from collections.abc import Iterable

TREE_DEPTH_MAX: Final = 1_000
"""Deeper than any outline a person draws; the walk to the root is bounded by it."""

ParentOf = Mapping[str, str | None] | Callable[[str], str | None]


class TreeParent(Register[str | None]):
    """The row above this one; null is a root."""

    kind = "tree_parent"
    scalar_name = "text"
    is_nullable = True

    def __init__(self, *, write: Iterable[str] | None = None) -> None:
        super().__init__(default=None, write=write)

    def parse(self, payload: object) -> str | None:
        """Validate a row id or null."""
        if payload is not None and not (isinstance(payload, str) and is_id(payload)):
            raise FieldError("bad-id", "the parent is a row id or null")
        return payload

    def describe(self) -> dict[str, Any]:
        """A tree parent has no parameters."""
        return {}


def closes_cycle(row: str, parent: str | None, parent_of: ParentOf) -> bool:
    """Tell whether putting `row` under `parent` closes a cycle.

    `parent_of` gives the present parent of a row (None: a root, or unknown). A chain longer than
    TREE_DEPTH_MAX counts as a cycle.
    """
    above = parent
    for _ in range(TREE_DEPTH_MAX):
        if above is None:
            return False
        if above == row:
            return True
        above = parent_of(above) if callable(parent_of) else parent_of.get(above)
    return above is not None
