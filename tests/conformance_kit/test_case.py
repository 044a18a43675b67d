"""Cases and their report: what counts as passed, failed and skipped."""

import asyncio

import pytest

from conformance.case import CaseList, Failed, Report, Skipped, expect, require, run_cases, shown

cases = CaseList("group", needs="able")


@cases("good")
async def _good(_context):
    """It is as it should be."""


@cases("bad")
async def _bad(context):
    """It is not."""
    expect("the value", context, {"a": 1})


@cases("broken")
async def _broken(_context):
    """It raises."""
    raise KeyError("ghost")


@cases("endless")
async def _endless(_context):
    """It hangs."""
    await asyncio.sleep(60)


@cases("unasked")
async def _unasked(_context):
    """It cannot be asked."""
    raise Skipped("there is no reason")


@cases("unable", needs="other.kind")
async def _unable(_context):
    """It needs what is not declared."""


def run(**arguments):
    lines = []
    report = Report("things", lines.append)
    coroutine = run_cases(
        cases.cases, {"a": 1.0}, report, capabilities=["able"], seconds_max=0.2, **arguments
    )
    asyncio.run(coroutine)
    return report, lines


def test_every_outcome_has_a_line():
    report, lines = run()
    assert lines == [
        "passed   group/good",
        'FAILED   group/bad: the value: expected {"a": 1}, got {"a": 1.0}',
        "FAILED   group/broken: expected an answer, got KeyError: 'ghost'",
        "FAILED   group/endless: expected an end within 0.2 s, got none",
        "skipped  group/unasked: there is no reason",
        "skipped  group/unable: the capability 'other.kind' is not declared",
    ]
    assert report.summary() == "things: 1 passed, 3 failed, 2 skipped"
    assert report.to_json()["cases"][1]["about"] == "It is not."


def test_only_some_cases():
    assert run(only="o/g")[0].results == []
    report, _ = run(only="good")
    assert report.is_good(strict=True)


def test_nothing_asked_is_not_good():
    assert not Report("nothing", print).is_good(strict=False)


def test_skipped_is_bad_when_strict():
    report, _ = run(only="un")
    assert not report.is_good(strict=False)
    asyncio.run(run_cases(cases.cases, None, report, only="good", capabilities=["able"]))
    assert report.is_good(strict=False)
    assert not report.is_good(strict=True)


def test_a_capability_covers_its_parts():
    report = Report("things", lambda _line: None)
    asyncio.run(run_cases(cases.cases, None, report, only="unable", capabilities=["other"]))
    assert report.count("passed") == 1


@pytest.mark.parametrize(("left", "right"), [(1, 1.0), (True, 1), (0, False), ([1], [1, 2])])
def test_comparison_is_strict(left, right):
    with pytest.raises(Failed):
        expect("a value", left, right)


def test_the_order_of_keys_does_not_count():
    expect("a value", {"a": 1, "b": 2}, {"b": 2, "a": 1})


def test_a_condition():
    require("it", holds=True, got=1)
    with pytest.raises(Failed, match="it: expected 2, got 1"):
        require("it", holds=False, got=1, expected=2)


def test_what_is_shown_is_bounded():
    assert len(shown("x" * 10_000)) < 1_100
    assert shown(b"\x00") == "b'\\x00'"
