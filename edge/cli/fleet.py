"""`skerry fleet dev`: a whole fleet on this machine, to develop and to try failures with."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cyclopts import App

from edge.cli.failure import CommandError
from edge.cli.lines import print_lines
from edge.cli.module import load_app
from edge.errors import Unavailable
from edge.settings import SettingError, read_settings

if TYPE_CHECKING:
    from rich.table import Table

    from edge.workers.fleet_dev import DevFleet, DevNode
    from edge.workers.fleet_status import NodeStatus

REGIONS: Final = "ams,syd"
REGIONS_MAX: Final = 8
"""Each is three processes on this machine."""
REFRESH_S: Final = 1.0
HEADINGS: Final = (
    *("node", "region", "url", "state", "role"),
    *("sequence", "lag ms", "outbox", "streams"),
)
fleet = App(name="fleet", help="Fleets: a primary and edges in other regions.")


@fleet.command
def dev(
    module: Path,
    /,
    *,
    data: Path = Path("skerry-fleet"),
    port: int = 8787,
    regions: str = REGIONS,
) -> None:
    """Run a primary and an edge per region on this machine, until it is told to stop.

    Everything listens on loopback. A folder that was used before keeps its nodes and their ports.

    Parameters
    ----------
    module
        A Python file with an App called `app`.
    data
        Folder of the nodes' data folders.
    port
        The primary's port; 0 picks a free one. The edges' are picked.
    regions
        Regions of the edges, separated by commas.
    """
    load_app(module)
    names = _regions(regions)
    read_settings({}, port=port)
    from edge.workers.fleet_dev import DevFleet  # noqa: PLC0415  (loads once all else is right)

    stop = threading.Event()

    def told_to_stop(_number: int, _frame: object) -> None:
        if stop.is_set():
            return  # the nodes are draining already
        stop.set()
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, told_to_stop)
    try:
        with DevFleet(module, data, names, port=port or None, ends_with_parent=True) as started:
            _show(started)
    except KeyboardInterrupt:
        return


def _regions(text: str) -> list[str]:
    names = [word.strip() for word in text.split(",") if word.strip()]
    if not 0 < len(names) <= REGIONS_MAX:
        raise CommandError(f"between 1 and {REGIONS_MAX} regions are expected, not {len(names)}")
    for name in names:
        try:
            # The region becomes part of a node's name, with a number when it is given twice.
            read_settings({}, node=f"edge-{name}-2")
        except SettingError:
            raise CommandError(f"{name!r} cannot name a region: small letters and digits") from None
    return names


def _show(fleet_of_nodes: DevFleet) -> None:
    """Show the nodes until one of them ends, or the process is told to stop."""
    from edge.workers.fleet_status import fleet_status  # noqa: PLC0415  (as above)

    nodes = fleet_of_nodes.nodes
    urls = [node.url for node in nodes]
    if not sys.stdout.isatty():
        print_lines(map(_columns, nodes, fleet_status(urls)))
        sys.stdout.flush()
        while True:
            _require_running(nodes)
            threading.Event().wait(REFRESH_S)
    from rich.live import Live  # noqa: PLC0415  (only a terminal needs it)

    print_lines([("data", node.data) for node in nodes])
    with Live(_table(nodes, fleet_status(urls)), auto_refresh=False) as live:
        while True:
            _require_running(nodes)
            threading.Event().wait(REFRESH_S)
            live.update(_table(nodes, fleet_status(urls)), refresh=True)


def _require_running(nodes: list[DevNode]) -> None:
    for node in nodes:
        if not node.is_running:
            raise Unavailable(f"{node.name} has ended. Its log:\n{node.log_tail()}")


def _columns(node: DevNode, status: NodeStatus) -> tuple[str, ...]:
    numbers = (status.sequence, status.lag_ms, status.outbox, status.streams)
    shown = ("-" if number is None else f"{number}" for number in numbers)
    role = "-" if status.leads is None else "primary" if status.leads else "edge"
    return (node.name, node.region, node.url, status.state, role, *shown)


def _table(nodes: list[DevNode], statuses: list[NodeStatus]) -> Table:
    from rich.table import Table  # noqa: PLC0415  (as above)

    table = Table(*HEADINGS)
    for node, status in zip(nodes, statuses, strict=True):
        style = None if status.is_ready else "red"
        table.add_row(*_columns(node, status), style=style)
    return table
