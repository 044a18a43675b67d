"""Cases: what is asked of an implementation, one at a time, and what came of each.

A case passes, fails with what was expected and what was got, or is skipped with the reason. A
skipped one has not passed: `--strict` counts it as failed.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Generic, Literal, TypeVar

T = TypeVar("T")

SHOWN_CHARACTERS_MAX: Final = 1_000
"""Enough of a value to see what is wrong with it; more would push other cases off the screen."""
CASE_SECONDS_MAX: Final = 60.0
"""A case that takes longer hangs."""


class Failed(Exception):
    """What was got is not what was expected."""

    def __init__(self, what: str, *, expected: object, got: object) -> None:
        super().__init__(f"{what}: expected {shown(expected)}, got {shown(got)}")


class Skipped(Exception):
    """The case cannot be asked of this implementation, for this reason."""


def shown(value: object) -> str:
    """Write a value as JSON where it is JSON, bounded in length."""
    try:
        text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    except (TypeError, ValueError):
        text = str(value)
    if len(text) > SHOWN_CHARACTERS_MAX:
        return text[:SHOWN_CHARACTERS_MAX] + "..."
    return text


def is_same(left: object, right: object) -> bool:
    """Compare JSON values strictly: 1, 1.0 and true differ, the order of keys does not count."""
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


def expect(what: str, got: object, expected: object) -> None:
    """Raise Failed unless two JSON values are the same."""
    if not is_same(got, expected):
        raise Failed(what, expected=expected, got=got)


def require(what: str, *, holds: bool, got: object, expected: object = "it holds") -> None:
    """Raise Failed unless a condition holds; `got` shows what it was about."""
    if not holds:
        raise Failed(what, expected=expected, got=got)


@dataclass(frozen=True, slots=True)
class Case(Generic[T]):
    """One thing that is asked: `run` returns when it is as it should be, else raises."""

    name: str
    about: str
    run: Callable[[T], Awaitable[None]]
    needs: str = ""
    """The capability an implementation must declare (`merge` covers `merge.lww`); empty: none."""


class CaseList(Generic[T]):
    """The cases of one group, in the order they are written down."""

    def __init__(self, group: str, *, needs: str = "") -> None:
        self.group = group
        self.needs = needs
        self.cases: list[Case[T]] = []

    def __call__(
        self, name: str, *, needs: str = ""
    ) -> Callable[[Callable[[T], Awaitable[None]]], Callable[[T], Awaitable[None]]]:
        """Add a function as a case; its docstring says what it is about."""

        def added(run: Callable[[T], Awaitable[None]]) -> Callable[[T], Awaitable[None]]:
            about = (run.__doc__ or "").strip().partition("\n")[0]
            self.cases.append(Case(f"{self.group}/{name}", about, run, needs or self.needs))
            return run

        return added


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one case."""

    name: str
    about: str
    outcome: Literal["passed", "failed", "skipped"]
    detail: str
    duration_ms: int

    def __str__(self) -> str:
        title = "FAILED" if self.outcome == "failed" else self.outcome
        return f"{title:8} {self.name}" + (f": {self.detail}" if self.detail else "")


@dataclass(slots=True)
class Report:
    """The results so far; `tell` hears one line for each, as they come."""

    of: str
    tell: Callable[[str], None]
    results: list[Result] = field(default_factory=list[Result])

    def add(self, result: Result) -> None:
        """Take a result and tell of it."""
        self.results.append(result)
        self.tell(str(result))

    def count(self, outcome: str) -> int:
        """Return how many cases ended so."""
        return sum(result.outcome == outcome for result in self.results)

    def is_good(self, *, strict: bool) -> bool:
        """Whether something passed and nothing failed; `strict`: and nothing was skipped."""
        bad = self.count("failed") + (self.count("skipped") if strict else 0)
        return bad == 0 and self.count("passed") > 0

    def summary(self) -> str:
        """Return the closing line."""
        counts = ", ".join(f"{self.count(word)} {word}" for word in ("passed", "failed", "skipped"))
        return f"{self.of}: {counts}"

    def to_json(self) -> dict[str, Any]:
        """Return everything, for machines."""
        return {
            "of": self.of,
            "passed": self.count("passed"),
            "failed": self.count("failed"),
            "skipped": self.count("skipped"),
            "cases": [asdict(result) for result in self.results],
        }


async def run_cases(
    cases: Iterable[Case[T]],
    context: T,
    report: Report,
    *,
    only: str = "",
    capabilities: Sequence[str] = (),
    seconds_max: float = CASE_SECONDS_MAX,
) -> None:
    """Run the cases whose name holds `only`, one after the other, each within `seconds_max`."""
    for case in cases:
        if only not in case.name:
            continue
        started = time.monotonic()
        outcome, detail = await _outcome(case, context, capabilities, seconds_max)
        duration_ms = round((time.monotonic() - started) * 1_000)
        report.add(Result(case.name, case.about, outcome, detail, duration_ms))


async def _outcome(
    case: Case[T], context: T, capabilities: Sequence[str], seconds_max: float
) -> tuple[Literal["passed", "failed", "skipped"], str]:
    if case.needs and not {case.needs, case.needs.partition(".")[0]} & set(capabilities):
        return "skipped", f"the capability {case.needs!r} is not declared"
    try:
        await asyncio.wait_for(case.run(context), seconds_max)
    except Skipped as skipped:
        return "skipped", str(skipped)
    except Failed as failed:
        return "failed", str(failed)
    except TimeoutError:
        return "failed", f"expected an end within {seconds_max:g} s, got none"
    except Exception as problem:  # noqa: BLE001  (whatever an implementation provokes is its failure)
        return "failed", f"expected an answer, got {type(problem).__name__}: {problem!s:.500}"
    return "passed", ""
