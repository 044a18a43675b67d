"""Our own client comes through the door for clients, and planted faults do not."""

import asyncio
import sys

import pytest

from conformance.client import scene
from conformance.client.door import check_client, client_cases
from tests.conformance_kit.client_bugs import BUGS
from tests.conformance_kit.in_process import asked

COMMAND = f"{sys.executable} -m skerry_client.conformance"


def test_our_client_passes_every_case():
    lines = []
    report = asyncio.run(check_client(COMMAND, tell=lines.append))
    assert [str(result) for result in report.results if result.outcome != "passed"] == []
    assert report.is_good(strict=True)
    assert len(report.results) == len(client_cases()) == len(lines) - 1


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_fault_is_found(name, monkeypatch):
    case, plant = BUGS[name]
    plant(monkeypatch)
    monkeypatch.setattr(scene, "SEEN_SECONDS_MAX", 1.0)
    result = asked(case)[case]
    assert result.outcome == "failed", name
    assert "expected" in result.detail
    assert "got" in result.detail


def test_every_case_has_a_name_and_says_what_it_is_about():
    cases = client_cases()
    assert len({case.name for case in cases}) == len(cases)
    assert all(case.about and case.needs for case in cases)


def test_what_is_not_declared_is_skipped_and_has_not_passed():
    found = asked("digest/", capabilities=("clock",))
    assert {result.outcome for result in found.values()} == {"skipped"}
    assert "'digest'" in found["digest/row"].detail
