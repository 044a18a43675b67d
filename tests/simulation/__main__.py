"""Simulate fleets and phones: `python -m tests.simulation --seed 1 --runs 100`.

Run k has the seed SEED + k - 1. Whatever fails is run again with fewer actions until nothing more
can be left out, and printed with the command that repeats it. Exit code 1 when anything failed.
"""

import os
import sys

HASH_SEED = "0"

if __name__ == "__main__" and os.environ.get("PYTHONHASHSEED") != HASH_SEED:
    # Sets of texts are in another order with every hash seed: the same seed needs the same order.
    os.environ["PYTHONHASHSEED"] = HASH_SEED
    os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])  # noqa: S606

from tests.simulation import clock  # isort: skip  (before the product, which keeps references)
from tests.simulation import substitutions
from tests.simulation.command import main

if __name__ == "__main__":
    assert clock.running() is None
    substitutions.install()
    sys.exit(main())
