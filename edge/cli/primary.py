"""`skerry primary hand-over|promote`: who leads the fleet. Both ask the node of the data folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from cyclopts import App

from edge.cli.control import ask_node, require_running
from edge.cli.lines import print_lines
from edge.settings import read_settings

PATH: Final = "/v1/operator/fleet"
primary = App(name="primary", help="Who leads the fleet.")


@primary.command(name="hand-over")
def hand_over(*, to: str, data: Path | None = None) -> None:
    """Let the node TO lead from now on; run it on the primary. Nothing is lost.

    Writes wait a moment: edges accept them meanwhile, and phones keep what nobody takes.

    Parameters
    ----------
    to
        The name of a node that has joined and is up.
    data
        The primary's data folder.
    """
    _ask("hand-over", {"node": to}, data)


@primary.command
def promote(*, force: bool = False, data: Path | None = None) -> None:
    """Make this node the primary, because the one before it is lost.

    Writes that no other node has are not on the server any more; the phones that made them send
    them again. See docs/OPERATIONS.md before you use --force.

    Parameters
    ----------
    force
        Although the primary answers, or another node has read further.
    data
        This node's data folder.
    """
    _ask("promote", {"force": force}, data)


def _ask(what: str, body: object, data: Path | None) -> None:
    settings = read_settings(os.environ, data=data)
    require_running(settings)
    told = ask_node(
        settings, "POST", f"{PATH}/{what}", tenant=settings.tenants[0], body=body, is_operator=True
    )
    print_lines([(told["node"], f"epoch {told['epoch']}", told["url"])])
