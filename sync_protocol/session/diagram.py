"""The three machines as Mermaid diagrams, generated from their tables.

`python -m sync_protocol.session.diagram` prints what docs/PROTOCOL.md shows.
"""

from __future__ import annotations

import sys

from sync_protocol.session.client_table import CLIENT_TABLE
from sync_protocol.session.push_lane import LANE_TABLE
from sync_protocol.session.server import SERVER_TABLE
from sync_protocol.session.states import ClientState, LaneState, ServerState
from sync_protocol.session.table import Table, mermaid


def diagram() -> str:
    """Return the diagrams as Markdown: the client's reading, its pushes, the server's stream."""
    machines: list[tuple[str, Table, ClientState | LaneState | ServerState]] = [
        ("Client: reading", CLIENT_TABLE, ClientState.OFFLINE),
        ("Client: pushes", LANE_TABLE, LaneState.IDLE),
        ("Server: one stream", SERVER_TABLE, ServerState.EXPECTING_HELLO),
    ]
    return "\n\n".join(
        f"**{title}**\n\n```mermaid\n{mermaid(table, initial)}\n```"
        for title, table, initial in machines
    )


if __name__ == "__main__":
    sys.stdout.write(diagram() + "\n")
