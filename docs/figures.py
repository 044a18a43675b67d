"""`python docs/figures.py [RESULTS]`: write the figures of bench/results.json into README.md.

The block between the two `figures` marks is replaced; nothing else is touched.
"""
# ruff: noqa: INP001  (a script beside the pages it serves, not a package)

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
RESULTS = ROOT / "bench" / "results.json"
BLOCK = re.compile(r"(?<=<!-- figures -->\n).*?(?=<!-- /figures -->)", re.DOTALL)
WHOLE = 100
"""From here on decimals say nothing."""


def table(results: list[dict[str, Any]]) -> str:
    """Return the figures that have a requirement as a table, with the machine they come from."""
    lines = ["| figure | value | unit | limit | ratio | required |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {result['name']} | {number(result['value'])} | {result['unit']} "
        f"| {number(result.get('limit'))} | {ratio(result.get('ratio'))} "
        f"| {result.get('required', '')} |"
        for result in results
        if result.get("required")
    ]
    return "\n".join([*lines, "", *machines(results), ""])


def machines(results: list[dict[str, Any]]) -> list[str]:
    """Return one line per machine that figures were measured on."""
    found = {
        f"Measured {machine['date'][:10]} at {machine['commit']}: {machine['cores']} cores, "
        f"{machine['cpu']}, Python {machine['python']}, SQLite {machine['sqlite']}."
        for machine in (result.get("machine") for result in results)
        if machine
    }
    return sorted(found)


def number(value: float | None) -> str:
    """Write a number with three significant digits, or whole when it is large."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= WHOLE else f"{value:.3g}"


def ratio(value: float | None) -> str:
    """Write a ratio."""
    return "" if value is None else f"{value:.2f}"


def rewritten(readme: str, results: list[dict[str, Any]]) -> str:
    """Return the page with its block replaced; raise ValueError when there is not exactly one."""
    text, count = BLOCK.subn(lambda _: table(results), readme)
    if count != 1:
        raise ValueError(f"{count} blocks of figures")
    return text


def main() -> None:
    """Rewrite README.md."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS
    if not path.exists():
        sys.exit(f"{path} is not there: `make bench` writes it")
    results = json.loads(path.read_text("utf-8"))
    README.write_text(rewritten(README.read_text("utf-8"), results), "utf-8")


if __name__ == "__main__":
    main()
