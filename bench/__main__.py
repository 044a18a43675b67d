"""`python -m bench [NAME...]`: measure, print a table, write bench/results.json."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import subprocess
import sys
import traceback
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from bench.child_process import ROOT
from bench.figure import Figure, median_of

if TYPE_CHECKING:
    from collections.abc import Sequence

FIGURES = (
    "push_merge",
    "push_single",
    "push_growth",
    "bootstrap",
    "pull_idle",
    "fanout",
    "read",
    "idle",
    "decode",
    "digest",
    "merge_kinds",
    "token_check",
    "refresh",
    "login",
    "revocation",
    "limits_exact",
    "backup",
    "fleet_lag",
    "fleet_push",
    "fleet_read",
    "fleet_fanout",
    "fleet_drain",
    "fleet_promote",
    "fleet_memory",
)
"""One module of this folder each, with a function `measure(quick)`."""
RESULTS = ROOT / "bench" / "results.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is asked for; 1 if some measurement failed (a limit not met is no failure)."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(FIGURES))
    parser.add_argument("--quick", action="store_true", help="small sizes: does it run?")
    parser.add_argument("--rounds", type=int, default=1, help="show the median of so many rounds")
    parser.add_argument(
        "--output", type=Path, help="results.json; with --quick nothing unless given"
    )
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - set(FIGURES))
    if unknown:
        parser.error(f"there is no figure {', '.join(unknown)}")
    output: Path | None = options.output or (None if options.quick else RESULTS)
    figures, failed = measured(
        options.names or FIGURES, quick=options.quick, rounds=max(1, options.rounds)
    )
    show(figures)
    if output is not None:
        write(figures, output)
    for name in failed:
        print(f"{name} failed", file=sys.stderr)
    return 1 if failed else 0


def measured(names: Sequence[str], *, quick: bool, rounds: int) -> tuple[list[Figure], list[str]]:
    """Run each measurement `rounds` times; return the medians, and the names that failed."""
    console, failed = Console(stderr=True), list[str]()
    done: list[list[Figure]] = []
    for turn in range(rounds):
        for name in names:
            if name in failed:
                continue
            console.print(f"[dim]{name}, round {turn + 1} of {rounds}[/dim]")
            try:
                done.append(import_module(f"bench.{name}").measure(quick=quick))
            except Exception:  # noqa: BLE001  (one that fails must not hide the others)
                traceback.print_exc()
                failed.append(name)
    return median_of(done), failed


def show(figures: Sequence[Figure]) -> None:
    """Print the table."""
    table = Table("name", "value", "unit", "limit", "ratio", "required", "met")
    for column in table.columns[1:2] + table.columns[3:5]:
        column.justify = "right"
    for figure in figures:
        table.add_row(
            figure.name,
            number(figure.value),
            figure.unit,
            "" if figure.limit is None else number(figure.limit),
            "" if figure.ratio is None else f"{figure.ratio:.2f}",
            figure.required,
            {True: "[green]yes[/green]", False: "[red]no[/red]", None: ""}[figure.is_met],
        )
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def number(value: float) -> str:
    """Write a number with three significant digits, or without decimals when it is large."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def write(figures: Sequence[Figure], path: Path) -> None:
    """Write the figures; those of earlier runs that were not measured now are kept."""
    machine_now = machine()
    results: dict[str, Any] = {}
    if path.exists():
        results = {result["name"]: result for result in json.loads(path.read_text())}
    for figure in figures:
        results[figure.name] = {
            "name": figure.name,
            "value": _rounded(figure.value),
            "unit": figure.unit,
            "limit": _rounded(figure.limit),
            "ratio": _rounded(figure.ratio),
            "required": figure.required,
            "machine": machine_now,
        }
    path.write_text(json.dumps(list(results.values()), indent=1) + "\n")


def machine() -> dict[str, Any]:
    """Return what the figures depend on besides the code, and which code it was."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": _cpu_model(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _commit() -> str:
    """Return the commit, marked when tracked files differ from it."""

    def git(*arguments: str) -> str:
        command = ["git", *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    commit = git("rev-parse", "--short=12", "HEAD")
    return f"{commit}+changes" if commit and git("status", "-s", "-uno") else commit


if __name__ == "__main__":
    sys.exit(main())
