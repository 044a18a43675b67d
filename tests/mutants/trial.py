"""Trying faults: one process collects the tests once, and forks for each fault.

The forked child plants the fault and runs the tests that reach it until one fails. Tests that were
quick to notice the last faults of the same function run first, then the shorter ones.
"""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.mutants.sources import NONE, Fault, LiveFunctions

EXAMPLES_MAX: Final = 15
"""Hypothesis examples per test: laws fail within few, and a survivor has to run all of them."""

CPU_FACTOR: Final = 5.0
"""A test may take so many times what it takes without a fault, traced: then it hangs."""

WALL_SECONDS_MAX: Final = 120.0
"""Of all tests of one fault; only a deadlock takes so long."""

MEMORY_BYTES_MAX: Final = 3 << 30


@dataclass(frozen=True, slots=True)
class Limits:
    """How many children run at once, and when a test without an end is given up."""

    workers: int = 2
    cpu_seconds_min: float = 2.0


class Outcome(StrEnum):
    """What became of a fault."""

    KILLED = "killed"
    TIMEOUT = "timeout"
    """A test hung or took too much memory; counts as killed."""

    SURVIVED = "survived"
    UNREACHED = "unreached"
    """No test runs the lines; counts as survived."""

    @property
    def is_killed(self) -> bool:
        """Whether the tests have noticed."""
        return self in {Outcome.KILLED, Outcome.TIMEOUT}


_EXIT_SURVIVED, _EXIT_KILLED, _EXIT_TIMEOUT, _EXIT_BROKEN = 0, 10, 11, 12


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of one fault, and the test that noticed it."""

    fault: Fault
    outcome: Outcome
    killer: str = ""


def calm(item: Any) -> None:
    """Make a Hypothesis test short and the same at each run; nothing is shrunk."""
    function: Any = getattr(item, "obj", None)
    if not getattr(function, "is_hypothesis_test", False):
        return
    function = getattr(function, "__func__", function)
    declared = getattr(function, "_hypothesis_internal_use_settings", None) or settings()
    function._hypothesis_internal_use_settings = settings(
        declared,
        max_examples=min(declared.max_examples, EXAMPLES_MAX),
        phases=[Phase.explicit, Phase.generate],
        derandomize=True,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=[*HealthCheck],  # pyright: ignore[reportArgumentType]
    )


class Tests:
    """The collected tests of a running pytest session."""

    def __init__(self, session: Any) -> None:
        self.items: dict[str, Any] = {item.nodeid: item for item in session.items}
        self.failed: list[str] = []
        session.config.pluginmanager.register(self, "faults")
        terminal = session.config.pluginmanager.get_plugin("terminalreporter")
        if terminal is not None:
            terminal._tw._file = open(os.devnull, "w")  # noqa: SIM115, PTH123  (until the end)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Take note of a failure in any phase of a test."""
        if report.failed:
            self.failed.append(report.nodeid)

    def passes(self, item: Any, following: Any) -> bool:
        """Run one test; return whether it passed. `following` keeps shared fixtures open."""
        before = len(self.failed)
        try:
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        except (Exception, SystemExit):  # noqa: BLE001  (a fault may break what pytest calls)
            return False
        return len(self.failed) == before


class Trials:
    """Forks children for faults, at most `workers` at a time."""

    def __init__(
        self, tests: Tests, live: LiveFunctions, seconds: dict[str, float], limits: Limits
    ) -> None:
        self._tests = tests
        self._live = live
        self._seconds = seconds
        self._limits = limits
        self._keen: dict[tuple[str, str], list[str]] = {}
        self._running: dict[int, _Child] = {}

    def control(self) -> bool:
        """Plant nothing and run every test: whether a child notices faults only."""
        results: list[Result] = []
        self.run([(NONE, list(self._seconds), "")], results.append)
        return results[0].outcome is Outcome.SURVIVED

    def run(
        self,
        faults: Iterable[tuple[Fault, Sequence[str], str]],
        done: Callable[[Result], None],
    ) -> None:
        """Try (fault, tests that reach it, test that noticed it last time); report each."""
        for fault, names, hint in faults:
            if not names:
                done(Result(fault, Outcome.UNREACHED))
                continue
            while len(self._running) >= self._limits.workers:
                self._reap(done)
            self._start(fault, self._ordered(fault, names, hint))
        while self._running:
            self._reap(done)

    def _ordered(self, fault: Fault, names: Sequence[str], hint: str) -> list[str]:
        keen = self._keen.get((fault.file, fault.function), [])
        first = [name for name in dict.fromkeys([hint, *keen]) if name in names]
        rest = sorted(set(names).difference(first), key=lambda name: (self._seconds[name], name))
        return first + rest

    def _start(self, fault: Fault, names: list[str]) -> None:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            least = self._limits.cpu_seconds_min
            limits = [max(least, CPU_FACTOR * self._seconds[name]) for name in names]
            _try(self._tests, self._live, fault, names, limits, writing)
        os.close(writing)
        self._running[child] = _Child(fault, names, reading, time.monotonic() + WALL_SECONDS_MAX)

    def _reap(self, done: Callable[[Result], None]) -> None:
        """Wait until one child has ended; end those that are over their time."""
        while True:
            for process in self._running:
                ended, status = os.waitpid(process, os.WNOHANG)
                if ended:
                    done(self._result(self._running.pop(process), status))
                    return
            now = time.monotonic()
            for process, child in self._running.items():
                if now > child.until:
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.002)

    def _result(self, child: _Child, status: int) -> Result:
        with os.fdopen(child.reading, "r") as pipe:
            place = pipe.read()
        code = os.waitstatus_to_exitcode(status)
        if code == _EXIT_BROKEN:
            raise RuntimeError(f"the runner itself failed at {child.fault.identity}: {place}")
        killer = child.names[int(place)] if place else ""
        if code == _EXIT_SURVIVED:
            return Result(child.fault, Outcome.SURVIVED)
        keen = self._keen.setdefault((child.fault.file, child.fault.function), [])
        if killer:
            if killer in keen:
                keen.remove(killer)
            keen.insert(0, killer)
        outcome = Outcome.KILLED if code == _EXIT_KILLED else Outcome.TIMEOUT
        return Result(child.fault, outcome, killer)


@dataclass(frozen=True, slots=True)
class _Child:
    fault: Fault
    names: list[str]
    reading: int
    until: float


def _try(  # noqa: PLR0917
    tests: Tests,
    live: LiveFunctions,
    fault: Fault,
    names: list[str],
    seconds: list[float],
    writing: int,
) -> None:
    """In the child: plant the fault, run tests until one fails, and exit."""
    silence = os.open(os.devnull, os.O_RDWR)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    signal.signal(signal.SIGPROF, lambda *_: os._exit(_EXIT_TIMEOUT))
    code, told = _EXIT_SURVIVED, ""
    try:
        live.plant(fault)
        chosen = [tests.items[name] for name in names]
        for place, item in enumerate(chosen):
            signal.setitimer(signal.ITIMER_PROF, seconds[place])
            following = chosen[place + 1] if place + 1 < len(chosen) else None
            if not tests.passes(item, following):
                code, told = _EXIT_KILLED, str(place)
                break
    except BaseException as error:  # noqa: BLE001  (told to the parent, which raises)
        code, told = _EXIT_BROKEN, repr(error)
    finally:
        os.write(writing, told.encode())
        os._exit(code)


def pytest_arguments(paths: Sequence[str], deselected: Sequence[str]) -> list[str]:
    """Return the command line that collects the tests and prints nothing of them."""
    quiet = ["-q", "--assert=plain", "-m", "not slow", "--tb=no", "-p", "no:cacheprovider"]
    plugins = [part for name in ("xdist", "faulthandler") for part in ("-p", f"no:{name}")]
    skipped = [part for name in deselected for part in ("--deselect", name)]
    return [*quiet, *plugins, *skipped, *(str(Path(path)) for path in paths)]


def fail_on_exit(code: int | pytest.ExitCode) -> None:
    """Raise when the tests did not even run."""
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise SystemExit(f"the tests did not run: {code}")
