"""The fleet's rules: who leads, which commits outlive a lost node, who may take over.

Invariants
  F1  of two claims to be the primary the higher epoch wins; equal epochs never belong to two nodes
  F2  a commit counts as replicated once every node that is up has it, and at least one is up
  F3  a node takes over only if no node that is up has read further
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

REPORT_AGE_MS_MAX: Final = 10_000
"""A node that has not reported for so long is not up: nobody waits for what it has read."""


class Role(StrEnum):
    """What a node does."""

    STANDALONE = "standalone"
    PRIMARY = "primary"
    EDGE = "edge"


class NodeState(StrEnum):
    """Whether a node belongs to the fleet."""

    JOINED = "joined"
    REMOVED = "removed"
    """It was taken out for ever: nothing it says counts any more."""


@dataclass(frozen=True, slots=True)
class NodeEntry:
    """One node: `url` is where other nodes call it, `grpc_url` where replicas of its sqld connect.

    `joined_ms` is Unix milliseconds.
    """

    node: str
    region: str
    url: str
    grpc_url: str
    state: NodeState
    joined_ms: int


@dataclass(frozen=True, slots=True)
class Leadership:
    """Who is the primary, and since which epoch; every take-over makes the next epoch."""

    epoch: int
    node: str
    url: str
    grpc_url: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a node has read of one tenant's database, and when it said so (Unix ms)."""

    node: str
    database: str
    sequence: int
    at_ms: int


def is_newer(claim: Leadership, known: Leadership | None) -> bool:
    """Tell whether a claim replaces what is known (F1)."""
    return known is None or claim.epoch > known.epoch


def replicated_through(
    reports: Iterable[Report], *, database: str, sequence: int, known: int, now_ms: int
) -> int:
    """Return up to which sequence commits outlive the primary; never less than `known` (F2).

    `reports` are those of the other nodes, newest per node; `sequence` is the primary's own.
    """
    up = [
        report.sequence
        for report in reports
        if report.database == database and now_ms - report.at_ms <= REPORT_AGE_MS_MAX
    ]
    return max(known, min([sequence, *up])) if up else known


def further(own: Mapping[str, int], others: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Return the nodes that have read further than this one in any tenant, by name (F3).

    `own` holds sequences by tenant, `others` the same by node.
    """
    return sorted(
        node
        for node, sequences in others.items()
        if any(sequence > own.get(tenant, 0) for tenant, sequence in sequences.items())
    )
