"""Whatever goes wrong, a fleet of real processes loses nothing and counts nothing twice."""

import pytest

from tests.faults.run import PHONES, Run
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
        run.settle()
    return run


def test_a_short_outage_loses_nothing(tmp_path):
    run = check(SMOKE, 1, tmp_path)
    seen = run.statistics
    assert seen["kills"] == 1
    assert seen["mutations"] > len(PHONES)
    assert seen["merged"] > len(run.fleet.names)
    assert seen["rejected"]
    assert seen["atomic"]
    assert seen["checked"]["looks"] > len(PHONES)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", [name for name in SCENARIOS if name != SMOKE])
def test_nothing_is_lost_and_nothing_counted_twice(name, seed, tmp_path):
    assert check(name, seed, tmp_path).statistics["merged"]
