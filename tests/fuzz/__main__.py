"""Fuzz: `python -m tests.fuzz --target NAME --seconds N`, or all targets one after the other."""

from __future__ import annotations

import argparse
import importlib.util
import sys

from tests.fuzz.campaign import fuzz
from tests.fuzz.registry import TARGETS

NO_ENGINE = "atheris is not installed; `.venv/bin/pip install --group fuzz` brings it."


def main(words: list[str]) -> int:
    """Run the campaigns; the exit code says whether something was found."""
    parser = argparse.ArgumentParser(prog="make fuzz")
    parser.add_argument("--target", choices=[*TARGETS, "all"], default="all")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(words)
    if importlib.util.find_spec("atheris") is None:
        print(NO_ENGINE, file=sys.stderr)
        return 2
    found = 0
    for name, target in TARGETS.items():
        if chosen.target in {name, "all"}:
            outcome = fuzz(target, seconds=chosen.seconds, seed=chosen.seed)
            print(outcome, flush=True)
            for path in outcome.found:
                print(f"    {path}")
            found += len(outcome.found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
