"""`skerry status`: every node of the fleet at a glance; exit code 1 when one needs a look."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from core.fleet import REPORT_AGE_MS_MAX, NodeState, Role
from core.ids import PersonId, TenantId
from edge.cli.control import OPERATOR, TOKEN_LIFETIME_S, ask_node, require_running
from edge.cli.failure import CommandError
from edge.cli.lines import plain
from edge.dto.fleet_status import FleetStatus, NodeStatus
from edge.errors import Unavailable
from edge.services.tokens import mint
from edge.settings import read_settings
from edge.storage.key_files import KeyFiles

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.table import Table

    from edge.settings import Settings

PATH: Final = "/v1/operator/fleet"
TENANT: Final = "main"
"""Operators' tokens need one; this answer is about all of them."""
SECONDS_MAX: Final = 10
ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024
"""A hundred thousand tenants."""
TENANTS_SHOWN_MAX: Final = 50
PIPE_COLUMNS: Final = 200
"""The width of a table that is not read on a terminal: nothing is cut."""


def status(*, url: str | None = None, data: Path | None = None, json: bool = False) -> None:
    """Show every node of the fleet: how far behind it is, and what waits there.

    Parameters
    ----------
    url
        Ask the node at this address, with the token in SKERRY_TOKEN or one of the folder's key,
        instead of the one that runs on the data folder.
    data
        The node's data folder.
    json
        Print the answer as JSON.
    """
    settings = read_settings(os.environ, data=data)
    fleet = _read(settings, url)
    if json:
        _print_json(fleet)
    else:
        _print_tables(fleet)
    wrong = list(complaints(fleet, lag_ms_max=settings.lag_ms_max))
    if wrong:
        raise Unavailable("; ".join(wrong))


def complaints(fleet: FleetStatus, *, lag_ms_max: int) -> Iterator[str]:
    """Yield what an operator has to look at, a phrase per node."""
    joined = [node for node in fleet.nodes if node.state == NodeState.JOINED]
    if fleet.primary not in {node.node for node in joined}:
        yield "no node leads the fleet"
    for node in joined:
        if node.heard_ms_ago is None:
            yield f"{plain(node.node)} was not heard of"
        elif node.heard_ms_ago > REPORT_AGE_MS_MAX:
            yield f"{plain(node.node)} was not heard of for {node.heard_ms_ago} ms"
        elif node.role == Role.EDGE and (node.lag_ms is None or node.lag_ms > lag_ms_max):
            lag = "an unknown time" if node.lag_ms is None else f"{node.lag_ms} ms"
            yield f"{plain(node.node)} is {lag} behind"


def _read(settings: Settings, url: str | None) -> FleetStatus:
    if url is None:
        require_running(settings)
        answer = ask_node(settings, "GET", PATH, tenant=TENANT, is_operator=True)
    else:
        answer = _ask(settings, url)
    try:
        return msgspec.convert(answer, FleetStatus)
    except msgspec.ValidationError as error:
        raise Unavailable(f"The node's answer is not understood: {error}") from error


def _ask(settings: Settings, url: str) -> Any:  # noqa: ANN401  (JSON)
    import httpx  # noqa: PLC0415  (only commands that call a node need it)

    address = url.rstrip("/")
    try:
        answer = httpx.get(
            address + PATH,
            headers={"authorization": f"Bearer {_token(settings)}"},
            timeout=SECONDS_MAX,
            trust_env=False,
        )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unavailable(f"The node at {plain(address)} does not answer: {error}") from error
    if answer.is_success and len(answer.content) <= ANSWER_BYTES_MAX:
        try:
            return answer.json()
        except ValueError as error:
            raise Unavailable(f"{plain(address)} does not answer as a node does.") from error
    try:
        why = str(answer.json()["detail"])
    except Exception:  # noqa: BLE001  (not a problem document: a proxy's page, or nothing)
        why = ""
    raise Unavailable(f"The node at {plain(address)} answers {answer.status_code}. {plain(why)}")


def _token(settings: Settings) -> str:
    given = os.environ.get("SKERRY_TOKEN", "").strip()
    if given:
        return given
    if not settings.keys_folder.is_dir():
        raise CommandError(f"{settings.keys_folder} holds no keys: set SKERRY_TOKEN or --data")
    return mint(
        KeyFiles(settings.keys_folder).development_key(),
        tenant=TenantId(TENANT),
        person=PersonId(OPERATOR),
        is_admin=True,
        is_operator=True,
        lifetime_s=TOKEN_LIFETIME_S,
        now_unix_s=int(time.time()),
    )


def _print_json(fleet: FleetStatus) -> None:
    # Everything beyond ASCII is escaped: nothing in a name can steer the terminal.
    sys.stdout.write(json.dumps(msgspec.to_builtins(fleet), indent=2) + "\n")


def _print_tables(fleet: FleetStatus) -> None:
    from rich.console import Console  # noqa: PLC0415  (takes a while to load)

    width = None if sys.stdout.isatty() else PIPE_COLUMNS
    console = Console(file=sys.stdout, width=width, highlight=False, markup=False, emoji=False)
    console.print(f"epoch {fleet.epoch}, primary {plain(fleet.primary)}")
    console.print(_nodes_table(fleet.nodes))
    if len(fleet.tenants) <= TENANTS_SHOWN_MAX:
        console.print(_tenants_table(fleet))
    else:
        waiting = sum(1 for tenant in fleet.tenants if tenant.replicated < tenant.sequence)
        console.print(f"{len(fleet.tenants)} tenants, {waiting} not yet replicated")


def _nodes_table(nodes: list[NodeStatus]) -> Table:
    names = ("node", "region", "role", "state", "breaker", "version", "url")
    numbers = ("heard ms ago", "behind", "lag ms", "outbox", "oldest s", "streams")
    rows = [
        (
            *(node.node, node.region, node.role, node.state, node.breaker, node.version, node.url),
            *(node.heard_ms_ago, node.sequences_behind, node.lag_ms),
            *(node.outbox, node.outbox_age_s, node.streams),
        )
        for node in nodes
    ]
    return _table(names, numbers, rows)


def _tenants_table(fleet: FleetStatus) -> Table:
    rows = [(tenant.tenant, tenant.sequence, tenant.replicated) for tenant in fleet.tenants]
    return _table(("tenant",), ("sequence", "replicated"), rows)


def _table(
    names: tuple[str, ...], numbers: tuple[str, ...], rows: Sequence[tuple[object, ...]]
) -> Table:
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in names:
        table.add_column(name, overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*(Text(plain("" if cell is None else str(cell))) for cell in row))
    return table
