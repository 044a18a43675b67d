"""Whatever goes wrong, a fleet of real processes loses nothing and counts nothing twice."""

import pytest

from tests.faults.run import Run
from tests.faults.scenarios import SCENARIOS

SMOKE = "short_outage"
SEEDS = (1, 2)


def check(name, seed, folder):
    scenario = SCENARIOS[name]
    if not scenario.is_possible:
        pytest.skip("a file system of its own needs root")
    run = Run(folder, scenario=name, seed=seed, full_disks=scenario.full_disks)
    with run:
        scenario.harm(run)
        mutations = run.settle()
    assert sum(mutation.is_in_effect for mutation in mutations.values()) > len(run.fleet.names)


def test_a_short_outage_loses_nothing(tmp_path):
    check(SMOKE, 1, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", [name for name in SCENARIOS if name != SMOKE])
def test_nothing_is_lost_and_nothing_counted_twice(name, seed, tmp_path):
    check(name, seed, tmp_path)
