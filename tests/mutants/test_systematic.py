"""The runner, on a small package of its own: what it notices, misses and remembers."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.mutants.report import Report
from tests.mutants.sources import ROOT, Fault
from tests.mutants.survivors import Kind, Survivor, as_entries, listed
from tests.mutants.trial import Outcome, Result

SOURCE = '''
"""Sums that are tested well, badly, or not at all."""

NAMES = {"one": 1, "two": 2}


def tested(value: int, limit: int = 10) -> bool:
    """Tested at both sides of the limit."""
    return value > limit


def half_tested(value: int) -> int:
    """Tested far from its limit."""
    if value > 100:
        raise ValueError("a large value")
    return value


def untested(value: int) -> int:
    return value + 1


def endless(value: int) -> int:
    while value:
        value -= 1
    return value


def named(name: str) -> int:
    return NAMES[name]


class Base:
    def __init__(self) -> None:
        self.base = True


class Registry:
    names: list[str] = []

    def __init_subclass__(cls, *, is_kept: bool = True) -> None:
        if is_kept:
            Registry.names.append(cls.__name__)


class Thing(Base):
    """Members that decorators wrap."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    @property
    def is_large(self) -> bool:
        return self.size > 3

    @classmethod
    def large(cls) -> "Thing":
        return cls(4)
'''
TESTS = """
import tiny

def test_tested():
    assert tiny.tested(11) and not tiny.tested(10)

def test_half_tested():
    assert tiny.half_tested(5) == 5

def test_endless():
    assert tiny.endless(3) == 0

def test_named():
    assert tiny.named("one") == 1

def test_registry():
    before = len(tiny.Registry.names)

    class Kept(tiny.Registry):
        pass

    assert tiny.Registry.names[before:] == ["Kept"]

def test_thing():
    thing = tiny.Thing.large()
    assert thing.base and thing.is_large and not tiny.Thing(3).is_large
    assert thing.size == 4
"""
PROGRAM = """
import json, sys
from pathlib import Path
from tests.mutants.memory import Memory
from tests.mutants.systematic import Options, Run
from tests.mutants.trial import fail_on_exit, pytest_arguments
import pytest

folder, is_fresh = Path(sys.argv[1]), sys.argv[2] == "fresh"
tests = (str(folder / "test_tiny.py"),)
options = Options(tests=tests, deselected=(), cpu_seconds_min=0.3, fresh=is_fresh)
run = Run(options, [str(folder / "tiny.py")], Memory(folder / "kept"))
arguments = [*pytest_arguments(options.tests, ()), f"--rootdir={folder}", "-o", "pythonpath="]
fail_on_exit(pytest.main(arguments, plugins=[run]))
rows = [[r.fault.function, r.fault.mutation, r.outcome.value, r.killer] for r in run.results]
(folder / "results.json").write_text(json.dumps([rows, run.broken]))
"""


def tried(
    folder: Path, *, memory: str = "kept"
) -> tuple[dict[tuple[str, str], tuple[str, str]], list[str], str]:
    """Run the systematic faults of the small package in a process of their own."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), memory],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows, broken = json.loads((folder / "results.json").read_text())
    return {(row[0], row[1]): (row[2], row[3]) for row in rows}, broken, done.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "tiny.py").write_text(SOURCE)
    (folder / "test_tiny.py").write_text(textwrap.dedent(TESTS))
    return folder


@pytest.fixture(scope="module")
def results(package):
    found, broken, _ = tried(package)
    assert broken == []
    return found


def outcomes(results, function):
    return {
        mutation: outcome for (name, mutation), (outcome, _) in results.items() if name == function
    }


def test_a_tested_function_leaves_no_survivor(results):
    found = outcomes(results, "tested")
    assert set(found.values()) == {"killed"}
    assert "value > limit -> value >= limit" in found
    assert "10 -> 11" in found, "defaults of parameters are changed too"


def test_an_untested_function_is_noticed(results):
    found = outcomes(results, "untested")
    assert found == {
        "return value + 1 -> return None": "unreached",
        "value + 1 -> value - 1": "unreached",
        "value + 1 -> value + 2": "unreached",
        "value + 1 -> value + 0": "unreached",
    }


def test_a_limit_that_is_not_tested_is_noticed(results):
    found = outcomes(results, "half_tested")
    assert found["value > 100 -> value >= 100"] == "survived"
    assert found["value > 100 -> value <= 100"] == "killed"
    assert found["return value -> return None"] == "killed"
    assert not any("large value" in mutation.split(" -> ")[1] for mutation in found)


def test_a_loop_that_does_not_end_is_killed(results):
    assert outcomes(results, "endless")["value -= 1 -> pass"] == "timeout"


def test_entries_of_tables_are_dropped(results):
    assert outcomes(results, "NAMES") == {"without one": "killed", "without two": "survived"}


def test_members_behind_decorators_and_super_are_changed(results):
    assert set(outcomes(results, "Thing.is_large").values()) == {"killed"}
    assert set(outcomes(results, "Thing.large").values()) == {"killed"}
    assert outcomes(results, "Registry.__init_subclass__")["True -> False"] == "killed"
    assert outcomes(results, "Thing.__init__") == {
        "super().__init__() -> pass": "killed",
        "self.size = size -> pass": "killed",
    }


def test_the_test_that_noticed_is_told(results):
    outcome, killer = results["tested", "value > limit -> value >= limit"]
    assert (outcome, killer) == ("killed", "test_tiny.py::test_tested")


def test_a_stopped_run_goes_on_where_it_was(package, results):
    again, _, printed = tried(package)
    assert again == results
    assert "learning" not in printed
    assert "tried" not in printed


def test_a_test_that_is_gone_notices_nothing(tmp_path):
    small = SOURCE.split("class Base", maxsplit=1)[0].replace("while value", "if value")
    (tmp_path / "tiny.py").write_text(small)
    (tmp_path / "test_tiny.py").write_text(TESTS.split("def test_thing", maxsplit=1)[0])
    tried(tmp_path)
    (tmp_path / "test_tiny.py").write_text(TESTS.split("def test_half_tested", maxsplit=1)[0])
    found, _, _ = tried(tmp_path, memory="fresh")
    assert set(outcomes(found, "tested").values()) == {"killed"}
    assert set(outcomes(found, "half_tested").values()) == {"unreached"}


def test_a_test_that_fails_without_a_fault_is_told(tmp_path):
    (tmp_path / "tiny.py").write_text(SOURCE)
    (tmp_path / "test_tiny.py").write_text("def test_wrong():\n    assert False\n")
    found, broken, _ = tried(tmp_path)
    assert (found, broken) == ({}, ["test_tiny.py::test_wrong"])


def result(mutation, outcome):
    return Result(Fault("core/clock.py", "pack", mutation, (1, 1)), outcome)


def survivor(mutation, kind):
    return Survivor("core/clock.py", "pack", mutation, kind, "a reason")


def report(results, survivors, *, is_whole=True):
    known = {item.identity: item for item in survivors}
    return Report.of(results, is_whole=is_whole, survivors=known)


def test_a_survivor_without_a_reason_fails():
    made = report([result("a", Outcome.KILLED), result("b", Outcome.UNREACHED)], [])
    assert made.exit_code == 1
    assert "'b'" in made.text(seconds=1)


def test_listed_survivors_pass_and_equivalents_leave_the_second_score():
    made = report(
        [
            result("a", Outcome.KILLED),
            result("b", Outcome.TIMEOUT),
            result("c", Outcome.SURVIVED),
            result("d", Outcome.SURVIVED),
        ],
        [survivor("c", Kind.EQUIVALENT), survivor("d", Kind.ACCEPTED)],
    )
    assert made.exit_code == 0
    assert "50.0 %" in made.text(seconds=1)
    assert "66.7 %" in made.text(seconds=1)


@pytest.mark.parametrize(
    ("results", "is_whole", "code"),
    [
        ([result("a", Outcome.KILLED)], True, 1),
        ([result("a", Outcome.KILLED)], False, 1),
        ([], True, 1),
        ([], False, 0),
    ],
)
def test_stale_entries_of_the_list_fail(results, is_whole, code):
    listed_one = [survivor("a", Kind.EQUIVALENT)]
    assert report(results, listed_one, is_whole=is_whole).exit_code == code


def test_survivors_are_printed_as_the_list_is_written(tmp_path):
    mutations = ["a -> b", "'x' -> 'y\\n'", 'say "it" -> pass']
    text = as_entries(Fault("core/clock.py", "pack", m, (1, 1)) for m in mutations)
    path = tmp_path / "survivors.toml"
    path.write_text(text.replace('kind = ""', 'kind = "accepted"').replace('son = ""', 'son = "x"'))
    assert [identity[2] for identity in listed(path)] == mutations
    path.write_text(text.replace('kind = ""', 'kind = "accepted"'))
    with pytest.raises(ValueError, match="no reason"):
        listed(path)


def test_the_committed_list_is_in_order():
    entries = list(listed().values())
    assert all(len(entry.reason) > 10 for entry in entries)
    assert all((ROOT / entry.file).is_file() for entry in entries)
