"""Run fault scenarios again and again: `python -m tests.faults [--runs N] [--scenario NAME]`.

Run k of a scenario has the seed SEED + k - 1. The folder of a run that failed is kept; the last
line is a table of what passed. Exit code 1 when anything failed.
"""

import argparse
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.faults.run import Run
from tests.faults.scenarios import SCENARIOS


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--runs", type=int, default=1, help="runs of each scenario")
    parser.add_argument("--scenario", action="append", choices=sorted(SCENARIOS), default=None)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where runs are kept; a temporary folder")
    options = parser.parse_args(arguments)
    folder = options.folder or Path(tempfile.mkdtemp(prefix="skerry-faults-"))
    failed = []
    for name in options.scenario or SCENARIOS:
        scenario = SCENARIOS[name]
        if not scenario.is_possible:
            print(f"left out  {name}: a file system of its own needs root", flush=True)
            continue
        for seed in range(options.seed, options.seed + options.runs):
            where = folder / f"{name}-{seed}"
            started = time.monotonic()
            problem = outcome_of(scenario, seed, where)
            seconds = time.monotonic() - started
            word = "failed" if problem else "passed"
            print(f"{word}    {name:<24} seed {seed:<4} {seconds:5.1f} s", flush=True)
            if problem:
                failed.append((name, seed))
                print(problem, flush=True)
            else:
                shutil.rmtree(where, ignore_errors=True)
    if failed:
        print(f"{len(failed)} failed, kept in {folder}: {failed}")
    elif not any(folder.iterdir()):
        folder.rmdir()
    return int(bool(failed))


def outcome_of(scenario, seed, folder):
    """Run one scenario; return what went wrong, or nothing."""
    try:
        run = Run(folder, scenario=scenario.name, seed=seed, full_disks=scenario.full_disks)
        with run:
            scenario.harm(run)
            run.settle()
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001  (one failure must not hide the others)
        return traceback.format_exc()
    return ""


if __name__ == "__main__":
    sys.exit(main())
