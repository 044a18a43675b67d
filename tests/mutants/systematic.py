"""Systematic faults: every small change of every function of `core` and `sync_protocol`.

`run` collects the tests once, learns which lines each of them runs, and tries one fault after the
other (`tests.mutants.trial`). What was learnt and what came of each fault is kept in `.mutants`, so
that a run that was stopped goes on, and the next run asks first the test that noticed last time.
"""

from __future__ import annotations

import gc
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from tests.mutants.memory import Memory, Reach, Tree, tree
from tests.mutants.reach import Tracer
from tests.mutants.report import Report
from tests.mutants.sources import ROOT, Fault, LiveFunctions, Source, files
from tests.mutants.trial import Limits, Result, Tests, Trials, calm, fail_on_exit, pytest_arguments

TESTS: Final = (
    "tests/core",
    "tests/sync_protocol",
    "tests/vectors",
)
"""Fast tests without I/O. The laws would notice more, and take ten times as long."""

LEFT_OUT: Final = (
    "tests/core/crdt/test_list_order.py::test_five_thousand_inserts_into_one_gap",
    "tests/sync_protocol/test_mutations.py::test_mutations_are_read_fast_enough",
)
"""Tests that measure time, or are long and show no more than shorter ones."""


@dataclass(frozen=True, slots=True)
class Options(Limits):
    """What to try: `modules` are beginnings of paths; `sample` 0 means every fault."""

    modules: tuple[str, ...] = ()
    sample: int = 0
    seed: int = 0
    again: bool = False
    """Try only what survived last time."""

    fresh: bool = False
    """Forget verdicts of the same tree."""

    tests: tuple[str, ...] = TESTS
    deselected: tuple[str, ...] = LEFT_OUT

    @property
    def is_whole(self) -> bool:
        """Whether every fault is tried, so that stale entries of the list can be told."""
        return not self.modules and not self.sample and not self.again


@dataclass(slots=True)
class Run:
    """A pytest plugin that tries faults instead of running the tests."""

    options: Options
    paths: list[str]
    """Files under test, from the root of the repository."""

    memory: Memory = field(default_factory=Memory)
    results: list[Result] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """Tests that fail without any fault."""

    def pytest_internalerror(self, excrepr: Any) -> None:
        """Show what the silent terminal would not."""
        print(excrepr, file=sys.stderr)

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Make Hypothesis short and repeatable."""
        for item in items:
            calm(item)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: Any) -> bool:
        """Learn what each test reaches, then try the faults."""
        tests = Tests(session)
        now = tree()
        digest = now.digest
        reach = self._learn(tests, now)
        if self.broken:
            return True
        live = LiveFunctions(str(ROOT / path) for path in self.paths)
        faults = list(self._chosen(live))
        gc.collect()
        gc.freeze()
        trials = Trials(tests, live, reach.seconds, self.options)
        if not trials.control():
            self.broken.append("(one of those that pass: it fails in a forked process)")
            return True
        todo: list[Fault] = []
        for fault in faults:
            verdict = None if self.options.fresh else self.memory.verdict(fault, digest)
            if verdict is None:
                todo.append(fault)
            else:
                self.results.append(verdict.result(fault))
        progress = _Progress(len(todo), len(faults) - len(todo))

        def done(result: Result) -> None:
            self.results.append(result)
            self.memory.note(result, digest)
            if progress.advance(result):
                self.memory.save()

        hinted = ((f, reach.tests_of(f, live), self.memory.hint(f)) for f in todo)
        trials.run(hinted, done)
        self.memory.save()
        return True

    def _learn(self, tests: Tests, now: Tree) -> Reach:
        """Run every test once, traced, unless what it reaches is known."""
        reach = self.memory.reach(now)
        reach.keep(tests.items)
        names = [name for name in tests.items if name not in reach.seconds]
        if not names:
            return reach
        print(f"learning what {len(names)} tests reach", flush=True)
        tracer = Tracer(str(ROOT / path) for path in self.paths)
        for name, following in zip(names, [*names[1:], None], strict=True):
            started = time.process_time()
            passed: list[bool] = []
            item, after = tests.items[name], tests.items.get(following or "")
            lines = tracer.of(lambda: passed.append(tests.passes(item, after)))  # noqa: B023
            if not passed[0]:
                self.broken.append(name)
            reach.add(name, time.process_time() - started, lines)
        if not self.broken:
            self.memory.keep_reach(now, reach)
        return reach

    def _chosen(self, live: LiveFunctions) -> Iterator[Fault]:
        found: list[Fault] = []
        for path in self.paths:
            if not self.options.modules or path.startswith(self.options.modules):
                source = Source(path)
                found += source.faults(live)
                found += (f for f in source.tables() if live.users_of(f.function))
        if self.options.again:
            found = [fault for fault in found if self.memory.has_survived(fault)]
        if self.options.sample:
            count = min(self.options.sample, len(found))
            found = random.Random(self.options.seed).sample(found, count)
        # In the order of the source, so that the keen tests of a function stay warm.
        yield from found


@dataclass(slots=True)
class _Progress:
    total: int
    known: int
    done: int = 0
    survived: int = 0
    started: float = field(default_factory=time.monotonic)

    def advance(self, result: Result) -> bool:
        """Count one; print a line, and return True, now and then."""
        self.done += 1
        self.survived += not result.outcome.is_killed
        if self.done % 250 and self.done != self.total:
            return False
        seconds = time.monotonic() - self.started
        print(
            f"{self.done:>5} of {self.total} tried ({self.known} known), "
            f"{self.survived} survived, {seconds:.0f} s",
            flush=True,
        )
        return True


def run(options: Options, paths: Sequence[str] | None = None) -> Run:
    """Try the faults that the options choose; the results are in the Run."""
    made = Run(options, list(paths or files()))
    fail_on_exit(pytest.main(pytest_arguments(options.tests, options.deselected), plugins=[made]))
    return made


def main(options: Options) -> int:
    """Try, report, and return the exit code."""
    started = time.monotonic()
    made = run(options)
    if made.broken:
        print("these tests fail without any fault:", *made.broken, sep="\n  ")
        return 1
    report = Report.of(made.results, is_whole=options.is_whole)
    print(report.text(seconds=time.monotonic() - started))
    return report.exit_code
