"""Our own server comes through the door for servers, and planted faults do not."""

import ast
import asyncio
from pathlib import Path

import pytest

from conformance.server import known_app
from conformance.server.door import check_server, server_cases
from conformance.server.people import SetUpFailed
from tests.conformance_kit.people import NodePeople
from tests.e2e.node_process import NodeProcess

BROKEN = Path(__file__).with_name("broken_node.py")


def planted():
    """Read the table of the broken node, which breaks whoever imports it."""
    for node in ast.parse(BROKEN.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "CASES":
            return ast.literal_eval(node.value)
    raise AssertionError("the table is gone")


def checked(node, only=""):
    return asyncio.run(check_server(node.url, NodePeople(node), only=only, tell=lambda _line: None))


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    data = tmp_path_factory.mktemp("node")
    with NodeProcess(data=data, module=Path(known_app.__file__)) as node:
        yield node


def test_our_server_passes_every_case(ours):
    report = checked(ours)
    assert [str(result) for result in report.results if result.outcome != "passed"] == []
    assert report.is_good(strict=True)
    assert len(report.results) == len(server_cases())


def test_a_server_may_be_asked_again(ours):
    assert checked(ours, "read/").is_good(strict=True)


def test_without_a_member_command_only_what_needs_it_is_skipped(ours):
    for space, people in (("a", ("ann", "ben")), ("b", ("ann",))):
        for person in people:
            ours.set_member(f"conformance-{space}", f"conformance-{person}")
    people = NodePeople(ours)
    people.can_manage = False
    report = asyncio.run(check_server(ours.url, people, only="read/", tell=lambda _line: None))
    others = [result.name for result in report.results if result.outcome != "passed"]
    assert others == ["read/gained-and-lost", "read/another-role"]
    assert report.is_good(strict=False)
    assert not report.is_good(strict=True)


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """A node with faults, and the file that says which of them is at work."""
    folder = tmp_path_factory.mktemp("broken")
    chosen = folder / "bug"
    chosen.write_text("")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("CONFORMANCE_BUG", str(chosen))
        with NodeProcess(data=folder / "node", module=BROKEN) as node:
            yield node, chosen


@pytest.mark.parametrize(("name", "case"), planted().items())
def test_a_planted_fault_is_found(name, case, broken):
    node, chosen = broken
    chosen.write_text(name)
    try:
        results = {result.name: result for result in checked(node, case).results}
    finally:
        chosen.write_text("")
    assert results[case].outcome == "failed", name
    assert "expected" in results[case].detail


def test_another_app_is_said_at_once(tmp_path):
    with (
        NodeProcess(data=tmp_path / "node") as node,
        pytest.raises(SetUpFailed, match="wrong-app"),
    ):
        checked(node)


def test_every_case_has_a_name_and_says_what_it_is_about():
    cases = server_cases()
    assert len({case.name for case in cases}) == len(cases)
    assert all(case.about for case in cases)
