"""The tables of the fleet's demonstration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outcome_table import shown
from rich.table import Table

if TYPE_CHECKING:
    from fleet_nodes import DigestRow


STATUS = ("node", "region", "role", "state", "breaker")
STATUS_NUMBERS = ("sequences_behind", "lag_ms", "outbox", "streams")


def status_table(status: dict[str, Any]) -> Table:
    """Draw what `skerry status --json` has told, one line per node."""
    table = Table(title=f"epoch {status['epoch']}, primary: {status['primary']}")
    for name in STATUS:
        table.add_column(name)
    for name in STATUS_NUMBERS:
        table.add_column(name.replace("_", " "), justify="right")
    for node in status["nodes"]:
        values = (node[name] for name in (*STATUS, *STATUS_NUMBERS))
        table.add_row(*("" if value is None else str(value) for value in values))
    return table


def away_table(title: str, looks: dict[str, tuple[str, dict[str, Any]]]) -> Table:
    """Draw one line per phone: (region, what it shows of an airfield)."""
    table = Table(title=title)
    table.add_column("phone", style="bold")
    table.add_column("region", style="cyan")
    for name in ("elevation", "visits"):
        table.add_column(name, justify="right")
    table.add_column("others' writes in it")
    table.add_column("its own writes")
    for person, (region, look) in looks.items():
        row = look["row"]
        table.add_row(
            *(person.title(), region, f"{shown(row['elevation_ft'])} ft", shown(row["visits"])),
            "[yellow]provisional[/]" if look["is_provisional"] else "final",
            _waiting(look["waiting"]),
        )
    return table


def file_table(files: dict[str, list[DigestRow]]) -> Table:
    """Draw one line per node's file: its rows of sk_digest, and the airfields behind them."""
    table = Table(title="The nodes' own files, read row for row")
    table.add_column("node", style="bold")
    table.add_column("rows of sk_digest", justify="right")
    table.add_column("living rows", justify="right")
    table.add_column("equal to the primary's")
    first = next(iter(files.values()))
    for name, found in files.items():
        is_equal = found == first
        table.add_row(
            *(name, f"{len(found):,}", f"{sum(row[4] for row in found):,}"),
            "[green]yes[/]" if is_equal else "[red]no[/]",
        )
    return table


def _waiting(outcomes: list[str]) -> str:
    words = [f"{outcomes.count(name)} {name}" for name in dict.fromkeys(outcomes)]
    return f"[yellow]{', '.join(words)}[/]" if words else "all final"
