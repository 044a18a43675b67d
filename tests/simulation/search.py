"""Looks for planted bugs: how many seeds it takes until the named check complains of each.

`python -m tests.simulation --mutants` searches from seed 1 on and prints a table; with `--known` it
begins at the seed that each bug is known to show in, and tries few.
"""

import gc
import json
import multiprocessing
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path

from tests.history.checker import check
from tests.simulation.mutants import MUTANTS, planted
from tests.simulation.plan import draw
from tests.simulation.run import carry_out

SEEDS_MAX = 200
"""A bug that takes more seeds than this to be found counts as not found."""
KNOWN_MAX = 4
"""Seeds tried from the known one on: any change of the product may move what a seed comes to."""
SHM = Path("/dev/shm")


@dataclass(frozen=True)
class Finding:
    """What one run told: the checks that complain in their order, and what else was wrong."""

    mutant: str
    seed: int
    checks: tuple
    problem: str = ""
    first: str = ""

    @property
    def is_caught(self):
        """Whether the named check complains."""
        return MUTANTS[self.mutant].check in self.checks

    @property
    def is_as_expected(self):
        """Whether the bug is caught, or, without one, nothing is wrong."""
        return self.is_caught if self.mutant else not self.checks and not self.problem

    @property
    def others(self):
        """The other checks that complain."""
        return [number for number in self.checks if number != MUTANTS[self.mutant].check]


def judged(seed, mutant=""):
    """Carry out one seed, with a bug planted or without, and judge it however it ends."""
    where = SHM if SHM.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="skerry-sim-", dir=where) as folder:
        if mutant:
            with planted(mutant):
                outcome = carry_out(draw(seed), Path(folder), judge=None)
        else:
            outcome = carry_out(draw(seed), Path(folder), judge=None)
    report = check(outcome.events)
    named = MUTANTS[mutant].check if mutant else ""
    first = next((str(v) for v in report.violations if v.check.split()[0] == named), "")
    problem = "; ".join([*filter(None, [outcome.problem]), *outcome.violations])
    finding = Finding(mutant, seed, tuple(report.checks), problem, first)
    del outcome, report
    gc.collect()
    return finding


@lru_cache
def clean(seed):
    """Return what a seed tells without any bug."""
    return judged(seed)


def searched(mutant, first_seed=1, seeds_max=SEEDS_MAX):
    """Return the finding of the first seed that catches a bug, or of the last one tried.

    A seed in which the check complains without the bug as well proves nothing.
    """
    for seed in range(first_seed, first_seed + seeds_max):
        finding = judged(seed, mutant)
        if finding.is_caught:
            if MUTANTS[mutant].check not in clean(seed).checks:
                return finding
            finding = replace(finding, checks=())
    return finding


def known(names):
    """Yield what the known seed of each bug tells, then what these seeds tell without a bug."""
    seeds = set()
    for name in names:
        finding = searched(name, MUTANTS[name].seed, KNOWN_MAX)
        seeds.add(finding.seed)
        yield finding
    yield from map(clean, sorted(seeds))


def main(options):
    """Search, or repeat what is known; print a table, and say whether all is as it should be."""
    gc.collect()
    gc.freeze()
    gc.disable()
    sys.unraisablehook = lambda _unraisable: None  # tasks of killed processes end where they stood
    names = options.only.split(",") if options.only else list(MUTANTS)
    print(f"{'mutant':26} {'check':5} {'seed':>4} {'seeds':>5}  others", flush=True)
    found = []
    for finding in known(names) if options.known else _all(names, options):
        found.append(finding)
        print(_line(finding, options), flush=True)
    if options.report is not None:
        told = [asdict(finding) for finding in found]
        options.report.write_text(json.dumps(told, indent=1) + "\n")
    return int(not all(finding.is_as_expected for finding in found))


def _all(names, options):
    if options.jobs == 1 or len(names) == 1:
        yield from (searched(name, options.seed) for name in names)
        return
    context = multiprocessing.get_context("fork")
    with context.Pool(options.jobs, maxtasksperchild=1) as pool:
        waiting = [pool.apply_async(searched, (name, options.seed)) for name in names]
        yield from (each.get() for each in waiting)


def _line(finding, options):
    if not finding.mutant:
        said = ", ".join(finding.checks) or "clean"
        return f"{'(no bug)':26} {'':5} {finding.seed:4} {'':5}  {said} {finding.problem[:200]}"
    check_ = MUTANTS[finding.mutant].check
    others = ", ".join(finding.others) or "none"
    first = MUTANTS[finding.mutant].seed if options.known else options.seed
    count = finding.seed - first + 1
    missed = "" if finding.is_caught else "  NOT CAUGHT"
    return f"{finding.mutant:26} {check_:5} {finding.seed:4} {count:>5}  {others}{missed}"
