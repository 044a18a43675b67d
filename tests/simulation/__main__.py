"""Simulate fleets and phones: `python -m tests.simulation --seed 1 --runs 100`.

Run k has the seed SEED + k - 1. Whatever fails is run again with fewer actions until nothing more
can be left out, and printed with the command that repeats it. Exit code 1 when anything failed.
"""

import os
import sys

HASH_SEED = "0"


def run():
    """Run the command in a process of its own, whose clock and hash seed are the simulation's."""
    if os.environ.get("PYTHONHASHSEED") != HASH_SEED:
        # Sets of texts are in another order with every hash seed: the same seed, the same order.
        os.environ["PYTHONHASHSEED"] = HASH_SEED
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])
    from tests.simulation import clock  # first of all: the product keeps references to the time

    assert clock.running() is None
    from tests.simulation import substitutions
    from tests.simulation.command import main

    substitutions.install()
    return main()


if __name__ == "__main__":
    sys.exit(run())
