"""Break real fleets: `python -m tests.faults [--runs N] [--scenario NAME ...] [--seed N]`.

Runs go through the scenarios in turn, then through them again with the next seed. What became of
each is added to a report of JSON lines, and told in a table at the end. The folder of a run that
has failed is kept. Exit code 1 when one has failed, 2 when one could not be run.
"""

import argparse
import asyncio
import contextlib
import signal
import sys
import tempfile
from pathlib import Path

from tests.faults import report
from tests.faults.campaign import Campaign, exit_code, planned
from tests.faults.one_run import PASSED
from tests.faults.scenarios import SCENARIOS

JOBS = 2
"""On two cores: a run waits for time-outs half of the time."""
REPORT = report.ROOT / "build" / "faults.jsonl"
INTERRUPTED = 130
PROBLEM_LINES_SHOWN = 60


def options_of(arguments):
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--runs", type=int, help="in all; otherwise every scenario once")
    parser.add_argument("--seed", type=int, default=1, help="the first")
    parser.add_argument("--scenario", action="append", choices=sorted(SCENARIOS), default=None)
    parser.add_argument("--jobs", type=int, default=JOBS, help="runs at a time")
    parser.add_argument("--report", type=Path, default=REPORT, help="where lines are added")
    parser.add_argument("--resume", type=Path, help="a report: leave out what has passed")
    parser.add_argument("--folder", type=Path, help="where runs lie; a temporary folder")
    return parser.parse_args(arguments)


def possible(names):
    """Return the scenarios that this machine allows, and say which it does not."""
    found = [name for name in names if SCENARIOS[name].is_possible]
    for name in sorted(set(names) - set(found)):
        print(f"left out  {name}: a file system of its own needs root", flush=True)
    return found


def main(arguments=None):
    options = options_of(arguments)
    at = report.commit()
    names = possible(options.scenario or list(SCENARIOS))
    runs = planned(names, runs=options.runs or len(names), seed=options.seed)
    path = options.resume or options.report
    if options.resume:
        before = report.passed_before(path, at=at)
        print(f"{len(before & set(runs))} of {len(runs)} have passed before, at {at}", flush=True)
        runs = [run for run in runs if run not in before]
    folder = options.folder or Path(tempfile.mkdtemp(prefix="skerry-faults-"))
    folder.mkdir(parents=True, exist_ok=True)
    lines = []

    def tell(run, result, seconds):
        lines.append(told := report.line(run, result, at=at, seconds=seconds))
        report.add(path, told)
        scenario, seed = run
        print(f"{told['verdict']:<8}  {scenario:<24} seed {seed:<5} {seconds:6.1f} s", flush=True)
        if told["verdict"] != PASSED:
            for text in told["problem"].splitlines()[-PROBLEM_LINES_SHOWN:]:
                print(f"  {text}")
            print(f"  again: {told['again']}\n  kept:  {told['folder']}", flush=True)

    # Whoever ends the campaign ends the runs, which take down what they have mounted and started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(Campaign(folder, jobs=options.jobs, tell=tell).run(runs))
    if lines:
        print(report.table(lines))
        print(f"report: {path}")
    with contextlib.suppress(OSError):
        folder.rmdir()  # unless something was kept
    return INTERRUPTED if len(lines) < len(runs) else exit_code(t["verdict"] for t in lines)


if __name__ == "__main__":
    sys.exit(main())
