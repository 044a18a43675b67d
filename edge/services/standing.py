"""Standing: how this node's database stands to the primary's, and what was accepted beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sync_protocol.messages.push import WireMutation
    from sync_protocol.messages.pushed import Pushed


@dataclass(frozen=True, slots=True)
class Accepted:
    """A mutation that this node has accepted, as it came; the primary may have judged it since."""

    device: int
    schema_version: int
    mutation: WireMutation


class Standing:
    """One tenant's standing on this node. This class is a node by itself; a fleet's override it."""

    @property
    def is_replica(self) -> bool:
        """Whether the database follows another node's, and may be behind it."""
        return False

    def replicated(self, sequence: int) -> int:
        """Return up to which sequence commits outlive the primary; `sequence` is this database's.

        Called on the event loop, for every page, poke, welcome and answer to a push. Alone there is
        nothing to outlive: what is durable here is all there is.
        """
        return sequence

    async def wait_for(self, sequence: int) -> bool:
        """Wait, within bounds, until this database has reached a sequence; tell whether it has."""
        return True

    async def is_present(self, database: str) -> bool:
        """Tell whether the fleet's present database has this id, which this node's has.

        Only then a cursor of which this node knows nothing is one of no use: else it may be of a
        database that has followed, and that this node has not heard of.
        """
        return True

    async def accepted(self) -> Sequence[Accepted]:
        """Return the mutations accepted here that the primary may not have judged, oldest first.

        One that has been judged stays until this database holds the outcome: readers leave out
        what their own snapshot has, so that nothing vanishes in between and nothing counts twice.
        """
        return ()

    def noted(self, pushed: Pushed) -> Pushed:
        """Return an answer to a push, made on this node, with what is replicated of it."""
        pushed.replicated = self.replicated(pushed.sequence)
        return pushed


STANDALONE = Standing()
"""A node by itself."""
