"""What the primary hears of the other nodes: how far each has read, and how it is.

Invariants
  R1  `replicated` never goes back for one database, and never beyond what every node that is up has
  R2  where no other node serves a tenant there is nobody to wait for: what is committed counts
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from core.fleet import Report, replicated_through

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

STATUS_NUMBERS_MAX: Final = 64
"""Numbers that one node may tell about itself."""


@dataclass(frozen=True, slots=True)
class NodeReport:
    """The newest report of one node; `at_ms` is the primary's Unix clock."""

    node: str
    at_ms: int
    sequences: Mapping[str, tuple[str, int]]
    status: Mapping[str, float]


class Reports:
    """Newest reports by node; those of nodes that were removed no longer count."""

    def __init__(self, *, others: Callable[[str], list[str]], now_ms: Callable[[], int]) -> None:
        """`others(tenant)` names the other nodes that serve a tenant; "" stands for any."""
        self._others = others
        self._now_ms = now_ms
        self._by_node: dict[str, NodeReport] = {}
        self._known: dict[str, tuple[str, int]] = {}

    def take(
        self, node: str, sequences: Mapping[str, tuple[str, int]], status: Mapping[str, float]
    ) -> None:
        """Note a report."""
        kept = dict(list(status.items())[:STATUS_NUMBERS_MAX])
        self._by_node[node] = NodeReport(node, self._now_ms(), dict(sequences), kept)

    def replicated(self, tenant: str, *, database: str, sequence: int) -> int:
        """Return up to which sequence a tenant's commits outlive this node."""
        others = self._others(tenant)
        if not others:
            return sequence  # R2
        before, known = self._known.get(tenant, (database, 0))
        reports = [
            Report(report.node, *report.sequences[tenant], report.at_ms)
            for node in others
            if (report := self._by_node.get(node)) is not None and tenant in report.sequences
        ]
        reached = replicated_through(
            reports,
            database=database,
            sequence=sequence,
            known=known if before == database else 0,
            now_ms=self._now_ms(),
        )
        self._known[tenant] = (database, reached)
        return reached

    def newest(self) -> dict[str, NodeReport]:
        """Return the newest report of every node that belongs to the fleet."""
        others = set(self._others(""))
        return {node: report for node, report in self._by_node.items() if node in others}
