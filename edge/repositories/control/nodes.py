"""Nodes of the fleet, and who is the primary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.ports.fleet import NodeRecord

if TYPE_CHECKING:
    from edge.ports.sql import SqlWriter

_COLUMNS: Final = "node, region, url, grpc_url, state, joined_ms"


class SqlNodes:
    """ct_node and ct_primary: nodes belong to no tenant. A removed node keeps its row: its name is
    never given again.
    """

    def __init__(self, sql: SqlWriter) -> None:
        self._sql = sql

    def all(self) -> list[NodeRecord]:
        """Return every node by name, removed ones too."""
        rows = self._sql.all(f"SELECT {_COLUMNS} FROM ct_node ORDER BY node")
        return [NodeRecord(*row) for row in rows]

    def get(self, node: str) -> NodeRecord | None:
        """Return one node."""
        row = self._sql.one(f"SELECT {_COLUMNS} FROM ct_node WHERE node = ?", (node,))
        return None if row is None else NodeRecord(*row)

    def put(self, record: NodeRecord) -> None:
        """Store."""
        self._sql.run(
            f"INSERT INTO ct_node ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (node) DO UPDATE SET region = excluded.region, url = excluded.url, "
            "grpc_url = excluded.grpc_url, state = excluded.state, "
            "joined_ms = excluded.joined_ms",
            (
                record.node,
                record.region,
                record.url,
                record.grpc_url,
                record.state,
                record.joined_ms,
            ),
        )

    def leadership(self) -> tuple[int, str, str, str] | None:
        """Return (epoch, node, url, grpc_url) of the primary, or None before the first."""
        row = self._sql.one("SELECT epoch, node, url, grpc_url FROM ct_primary WHERE id = 1")
        return None if row is None else (row[0], row[1], row[2], row[3])

    def lead(self, epoch: int, node: str, url: str, grpc_url: str) -> None:
        """Store who is the primary."""
        self._sql.run(
            "INSERT INTO ct_primary (id, epoch, node, url, grpc_url) VALUES (1, ?, ?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET epoch = excluded.epoch, node = excluded.node, "
            "url = excluded.url, grpc_url = excluded.grpc_url",
            (epoch, node, url, grpc_url),
        )
