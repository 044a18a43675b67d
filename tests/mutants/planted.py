"""Planted faults: plant each one, and print which were noticed; exit 1 if one was not."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.mutants import ingest, merge_sql
from tests.mutants.mutant import Fate, Mutant, NotPlanted


def fate_of(mutant: Mutant, is_noticed: Callable[[str], bool]) -> tuple[Fate, str]:
    """Plant one mutant, run its tests, take it out again."""
    noticed = False
    try:
        with mutant.plant():
            noticed = is_noticed(mutant.target)
    except NotPlanted as reason:
        return Fate.STALE, str(reason)
    if noticed:
        return (Fate.SURVIVED, "called equivalent, but noticed") if mutant.equivalent else (
            Fate.KILLED, ""
        )  # fmt: skip
    return (Fate.EQUIVALENT, mutant.equivalent) if mutant.equivalent else (Fate.SURVIVED, "")


def main(words: list[str]) -> int:
    """Plant those whose name or target holds one of the words; return the exit code."""
    fates: list[Fate] = []
    for source in (merge_sql, ingest):
        for target in sorted({mutant.target for mutant in source.MUTANTS}):
            if not words and source.is_noticed(target):
                print(f"the tests of {target!r} fail without any mutant")
                return 1
        for mutant in source.MUTANTS:
            if words and not any(word in f"{mutant.name} {mutant.target}" for word in words):
                continue
            started = time.monotonic()
            fate, why = fate_of(mutant, source.is_noticed)
            fates.append(fate)
            seconds = time.monotonic() - started
            print(f"{fate:<10}  {mutant.target:<16}  {mutant.name:<45} {seconds:5.1f} s  {why}")
    counts = ", ".join(f"{fates.count(fate)} {fate.lower()}" for fate in Fate)
    print(f"\n{len(fates)} mutants: {counts}")
    return int(Fate.SURVIVED in fates or Fate.STALE in fates)
