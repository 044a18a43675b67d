"""What is written down of runs: a file of JSON lines, one per run, and a table of them.

A line holds date (UTC), commit, scenario, seed, verdict, seconds (in all, and by part), statistics,
and of a run that has not passed the problem, its folder and the command that repeats it.
"""

import json
import statistics
import subprocess
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path

from tests.faults.one_run import FAILED, NOT_RUN, PASSED

ROOT = Path(__file__).resolve().parents[2]
CHANGED = "+"
"""At the end of a commit's id: the files are not those of the commit."""
COLUMNS = ("scenario", "passed", "failed", "not run", "seconds", "longest")


def commit():
    """Return the commit that is checked out, with CHANGED when files have changed since."""
    found = _git("rev-parse", "--short=12", "HEAD").strip()
    return found + CHANGED if _git("status", "--porcelain", "--untracked-files=no") else found


def _git(*arguments):
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout


def line(run, result, *, at, seconds):
    """Return what is written of one run; `run` is (scenario, seed)."""
    scenario, seed = run
    told = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": at,
        "scenario": scenario,
        "seed": seed,
        "verdict": result["verdict"],
        "seconds": round(seconds, 1),
        "parts": result.get("parts", {}),
        "statistics": result.get("statistics", {}),
    }
    if result["verdict"] != PASSED:
        told |= {"problem": result["problem"], "again": again(scenario, seed)}
        told |= {"folder": str(result.get("folder", ""))}
    return told


def again(scenario, seed):
    """Return the command that repeats a run."""
    return f"python -m tests.faults --scenario {scenario} --seed {seed}"


def passed_before(path, *, at):
    """Return the runs that a file says have passed at a commit; none of a changed one."""
    if at.endswith(CHANGED) or not Path(path).exists():
        return set()
    lines = [json.loads(text) for text in Path(path).read_text(encoding="utf-8").splitlines()]
    return {
        (told["scenario"], told["seed"])
        for told in lines
        if told["verdict"] == PASSED and told["commit"] == at
    }


def add(path, told):
    """Append a line."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(json.dumps(told) + "\n")


def table(lines):
    """Return the runs by scenario, as text, and what they have seen together."""
    groups = defaultdict(list)
    for told in lines:
        groups[told["scenario"]].append(told)
    rows = [COLUMNS, *(_row(name, group) for name, group in sorted(groups.items()))]
    if len(groups) > 1:
        rows.append(_row("all", lines))
    widths = [max(len(row[place]) for row in rows) for place in range(len(COLUMNS))]
    shown = [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True))
        for row in rows
    ]
    return "\n".join([*(text.rstrip() for text in shown), totals(lines)])


def _row(name, group):
    verdicts = Counter(told["verdict"] for told in group)
    seconds = [told["seconds"] for told in group]
    counts = (str(verdicts[verdict]) for verdict in (PASSED, FAILED, NOT_RUN))
    return (name, *counts, f"{statistics.median(seconds):.1f}", f"{max(seconds):.1f}")


def totals(lines):
    """Return the sums of the statistics of the runs that have passed, as one line of text."""
    sums = Counter()
    for told in lines:
        if told["verdict"] == PASSED:
            sums.update({n: v for n, v in told["statistics"].items() if isinstance(v, int)})
    return ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in sorted(sums.items()))
