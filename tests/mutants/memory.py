"""What the last runs have learnt, in `.mutants` (ignored by git; safe to delete)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.mutants.reach import Line
from tests.mutants.sources import ROOT, Fault, LiveFunctions
from tests.mutants.trial import EXAMPLES_MAX, Outcome, Result

FOLDER: Final = ROOT / ".mutants"
Identity = tuple[str, str, str]
_TREES: Final = ("core", "sync_protocol", "edge", "clients/python", "tests")


@dataclass(frozen=True, slots=True)
class Tree:
    """Digests of what verdicts depend on."""

    rest: str
    """Of everything but the test files: the code, and what tests share."""

    tests: dict[str, str]
    """Of each test file, by path from the root."""

    @property
    def digest(self) -> str:
        """The digest of all of it."""
        return _digest([self.rest.encode(), *(d.encode() for d in self.tests.values())])


def tree() -> Tree:
    """Read the tree as it is."""
    rest = [str(EXAMPLES_MAX).encode()]
    tests: dict[str, str] = {}
    for top in _TREES:
        for path in sorted((ROOT / top).rglob("*")):
            name = str(path.relative_to(ROOT))
            if path.suffix not in {".py", ".json", ".sql"} or "__pycache__" in path.parts:
                continue
            if name.startswith("tests/mutants"):
                continue
            if path.name.startswith("test_"):
                tests[name] = _digest([path.read_bytes()])
            else:
                rest += [name.encode(), path.read_bytes()]
    return Tree(_digest(rest), tests)


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:16]


@dataclass(slots=True)
class Reach:
    """Which tests run which lines, and how many seconds each takes (traced, so rather long)."""

    seconds: dict[str, float] = field(default_factory=dict)
    tests: dict[Line, list[str]] = field(default_factory=dict)

    def add(self, test: str, seconds: float, lines: Iterable[Line]) -> None:
        """Note one test."""
        self.seconds[test] = round(seconds, 4)
        for line in lines:
            self.tests.setdefault(line, []).append(test)

    def keep(self, names: Iterable[str]) -> None:
        """Forget all tests but these."""
        kept = set(names)
        self.seconds = {name: s for name, s in self.seconds.items() if name in kept}
        self.tests = {
            line: [name for name in found if name in kept] for line, found in self.tests.items()
        }

    def tests_of(self, fault: Fault, live: LiveFunctions) -> list[str]:
        """Return the tests that run the lines of a fault, or any function that reads its table."""
        if fault.entry is not None:
            lines = [
                (code.co_filename, line)
                for code in live.users_of(fault.function)
                for *_, line in code.co_lines()
                if line
            ]
        else:
            first, last = fault.lines
            lines = [(str(ROOT / fault.file), line) for line in range(first, last + 1)]
        return list({test: None for line in lines for test in self.tests.get(line, ())})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a fault, in the tree of that digest."""

    outcome: Outcome
    killer: str
    digest: str

    def result(self, fault: Fault) -> Result:
        """Return the verdict as the result of a fault."""
        return Result(fault, self.outcome, self.killer)


class Memory:
    """The folder's two files: what tests reach, and verdicts."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._reach = folder / "reach.json"
        self._verdicts = folder / "verdicts.json"
        self._known: dict[Identity, Verdict] = {
            (file, function, mutation): Verdict(Outcome(outcome), killer, digest)
            for file, function, mutation, outcome, killer, digest in _read(self._verdicts).get(
                "verdicts", []
            )
        }

    def verdict(self, fault: Fault, digest: str) -> Verdict | None:
        """Return what came of a fault in the same tree."""
        verdict = self._known.get(fault.identity)
        return verdict if verdict is not None and verdict.digest == digest else None

    def hint(self, fault: Fault) -> str:
        """Return the test that noticed the fault last time, or nothing."""
        verdict = self._known.get(fault.identity)
        return "" if verdict is None else verdict.killer

    def has_survived(self, fault: Fault) -> bool:
        """Whether the fault was not noticed last time, or not tried."""
        verdict = self._known.get(fault.identity)
        return verdict is None or not verdict.outcome.is_killed

    def note(self, result: Result, digest: str) -> None:
        """Take note of one result."""
        self._known[result.fault.identity] = Verdict(result.outcome, result.killer, digest)

    def save(self) -> None:
        """Write the verdicts."""
        rows = [
            [*identity, verdict.outcome.value, verdict.killer, verdict.digest]
            for identity, verdict in self._known.items()
        ]
        _write(self._verdicts, {"verdicts": rows})

    def reach(self, tree: Tree) -> Reach:
        """Return what the tests reach whose file, and all they share, is as it was."""
        kept = _read(self._reach)
        reach = Reach()
        if kept.get("rest") != tree.rest:
            return reach
        for name, (seconds, digest, lines) in kept["tests"].items():
            if tree.tests.get(name.split("::")[0], "") == digest:
                places = [(kept["files"][file], line) for file, line in lines]
                reach.add(name, seconds, places)
        return reach

    def keep_reach(self, tree: Tree, reach: Reach) -> None:
        """Write what tests reach."""
        files: dict[str, int] = {}
        lines: dict[str, list[tuple[int, int]]] = {name: [] for name in reach.seconds}
        for (file, line), names in reach.tests.items():
            place = files.setdefault(file, len(files))
            for name in names:
                lines[name].append((place, line))
        tests = {
            name: (seconds, tree.tests.get(name.split("::")[0], ""), lines[name])
            for name, seconds in reach.seconds.items()
        }
        _write(self._reach, {"rest": tree.rest, "files": [*files], "tests": tests})


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


def _write(path: Path, value: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(value), "utf-8")
    beside.replace(path)
