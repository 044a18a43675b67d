"""Every check notices the bug that is planted for it, and nothing without one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.history.checks import CHECKS
from tests.simulation.mutants import MUTANTS

ROOT = Path(__file__).resolve().parents[2]
SECONDS_MAX = 3_000
HALVES = (sorted(MUTANTS)[::2], sorted(MUTANTS)[1::2])
"""Two tests, so that two workers share the runs; each starts one process, which has to be its own:
the simulator replaces the clock.
"""


def simulated(folder, *arguments):
    """Run the command; return what it found: a run each."""
    report = folder / "report.json"
    command = [sys.executable, "-m", "tests.simulation", "--mutants", "--report", str(report)]
    done = subprocess.run(
        [*command, *arguments], cwd=ROOT, capture_output=True, text=True, check=False,
        timeout=SECONDS_MAX,
    )  # fmt: skip
    assert report.exists(), done.stdout + done.stderr
    return json.loads(report.read_text())


def test_every_check_has_a_planted_bug():
    numbers = {module.NAME.split()[0] for module in CHECKS}
    assert {mutant.check for mutant in MUTANTS.values()} == numbers


@pytest.mark.parametrize("names", HALVES, ids=("first half", "second half"))
def test_the_known_seed_of_each_bug_shows_it(names, tmp_path):
    found = simulated(tmp_path, "--known", "--only", ",".join(names))
    bugs = {run["mutant"]: run for run in found if run["mutant"]}
    assert bugs.keys() == set(names)
    missed = {name: run for name, run in bugs.items() if MUTANTS[name].check not in run["checks"]}
    assert missed == {}
    clean = [run for run in found if not run["mutant"]]
    assert {run["seed"] for run in clean} == {run["seed"] for run in bugs.values()}
    assert [run for run in clean if run["checks"] or run["problem"]] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_each_bug_is_found_within_200_seeds(name, tmp_path):
    (run,) = simulated(tmp_path, "--only", name)
    assert MUTANTS[name].check in run["checks"], run
    assert run["seed"] <= 200
