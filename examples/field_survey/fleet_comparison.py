"""Compares all replicas of the fleet: what phones and nodes say, and what lies in nodes' files."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
from auditor import node_digests
from fleet_nodes import DigestRow, digest_rows
from fleet_tables import file_table
from outcome_table import digest_table
from seed import SPACES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fleet_processes import FleetPhoneProcess
    from rich.table import Table

    from edge.workers.dev_node import DevNode

SECONDS_MAX = 45.0
"""Replicas are level within a second; after a hand-over they may be copied anew."""
LOOK_AGAIN_S = 0.1


@dataclass(frozen=True, slots=True)
class Comparison:
    """Digests per replica and space, and the rows of sk_digest per node; the primary's first."""

    digests: dict[str, dict[str, str]]
    files: dict[str, list[DigestRow]]

    @property
    def are_equal(self) -> bool:
        """Whether everything is there and nothing differs."""
        first, *others = self.digests.values()
        rows, *copies = self.files.values()
        return (
            set(first) == set(SPACES)
            and bool(rows)
            and all(found == first for found in others)
            and all(found == rows for found in copies)
        )

    def tables(self) -> tuple[Table, Table]:
        """Draw both."""
        digests = digest_table(self.digests)
        digests.title = "Digests of the three nodes and the four phones"
        return digests, file_table(self.files)


async def compare(
    nodes: Sequence[DevNode], phones: Mapping[str, FleetPhoneProcess], *, token: str
) -> Comparison:
    """Look until all are equal, or time is up; the first of the nodes is the primary."""
    deadline = time.monotonic() + SECONDS_MAX
    while True:
        digests = {node.name: await _digests(node, token) for node in nodes}
        for person, phone in phones.items():
            digests[person.title()] = await phone.ask("digests")
        files = {node.name: digest_rows(node, leads=node is nodes[0]) for node in nodes}
        found = Comparison(digests, files)
        if found.are_equal or time.monotonic() > deadline:
            return found
        await asyncio.sleep(LOOK_AGAIN_S)


async def _digests(node: DevNode, token: str) -> dict[str, str]:
    """Ask a node for its digests; nothing while it comes back or has not caught up."""
    try:
        return await node_digests(node.url, token)
    except (httpx.HTTPError, AssertionError):
        return {}
