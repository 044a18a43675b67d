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


def score(fates: list[Fate]) -> str:
    """Return how many were noticed, of all and of those that are not equivalent."""
    killed, equivalent = fates.count(Fate.KILLED), fates.count(Fate.EQUIVALENT)
    if not fates:
        return "none planted"
    others = max(len(fates) - equivalent, 1)
    return (
        f"{killed} of {len(fates)} killed, {100 * killed / len(fates):.1f} %; "
        f"{100 * killed / others:.1f} % without the {equivalent} equivalent ones"
    )


def main(words: list[str]) -> int:
    """Plant those whose name or target holds one of the words; return the exit code."""
    fates: list[Fate] = []
    scores: list[str] = []
    for title, source in (("merge SQL", merge_sql), ("way in", ingest)):
        before = len(fates)
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
        scores.append(f"{title}: {score(fates[before:])}")
    counts = ", ".join(f"{fates.count(fate)} {fate.lower()}" for fate in Fate)
    print(f"\n{len(fates)} mutants: {counts}", *scores, sep="\n")
    return int(Fate.SURVIVED in fates or Fate.STALE in fates)
