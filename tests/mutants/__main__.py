"""`python -m tests.mutants`: planted faults, then systematic ones; exit 1 if one is unexplained.

`python -m tests.mutants WORD ...` plants only those whose name or target holds a word. Any option
tries systematic faults alone: `--module core/clock`, `--sample 300 --seed 7`, `--again`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from typing import Final

from tests.mutants import planted, systematic
from tests.mutants.systematic import Options

COMMAND: Final = (sys.executable, "-m", "tests.mutants")
NICE: Final = 5


def main(arguments: list[str]) -> int:
    """Read the command line and run what it asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("words", nargs="*", help="plant only faults that hold one of these words")
    parser.add_argument("--systematic", action="store_true", help="every systematic fault")
    parser.add_argument("--module", action="append", default=[], help="beginning of a path")
    parser.add_argument("--sample", type=int, default=0, help="so many faults, chosen by --seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--again", action="store_true", help="only what survived last time")
    parser.add_argument("--fresh", action="store_true", help="forget the verdicts of this tree")
    given = parser.parse_args(arguments)
    options = Options(
        modules=tuple(given.module),
        sample=given.sample,
        seed=given.seed,
        workers=given.workers,
        again=given.again,
        fresh=given.fresh,
    )
    is_systematic = given.systematic or given.fresh or not options.is_whole
    if is_systematic:
        return systematic.main(options)
    if given.words:
        return planted.main(given.words)
    code = planted.main([])
    # A process of its own: the planted faults' tests have imported much that would be forked along.
    return code | subprocess.run([*COMMAND, "--systematic"], check=False).returncode


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        # Orders of sets differ between runs otherwise, and with them what tests notice.
        os.nice(NICE)
        os.execve(sys.executable, [*COMMAND, *sys.argv[1:]], {**os.environ, "PYTHONHASHSEED": "0"})
    sys.exit(main(sys.argv[1:]))
