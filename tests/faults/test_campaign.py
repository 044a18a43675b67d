"""Many runs: what is planned, how often it is tried, what the exit code says, what is written."""

import asyncio
import json

import pytest

from tests.faults import report
from tests.faults.campaign import Campaign, exit_code, planned
from tests.faults.one_run import FAILED, NOT_RUN, PASSED
from tests.faults.template import taken_port


def test_scenarios_take_turns_and_seeds_follow():
    assert planned(["a", "b"], runs=5, seed=7) == [
        ("a", 7), ("b", 7), ("a", 8), ("b", 8), ("a", 9),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [([PASSED], 0), ([PASSED, FAILED, NOT_RUN], 1), ([PASSED, NOT_RUN], 2)],
)
def test_the_exit_code_tells_the_worst(verdicts, code):
    assert exit_code(verdicts) == code


class Scripted(Campaign):
    """A campaign whose programs do what they are told to."""

    def __init__(self, folder, verdicts, told, *, jobs=1):
        super().__init__(folder, jobs=jobs, tell=lambda *what: told.append(what))
        self.verdicts = verdicts
        self.templates = []

    async def _program(self, module, *arguments, log):
        await asyncio.sleep(0)
        if module == "tests.faults.template":
            (self._folder / arguments[0] / "nodes").mkdir(parents=True)
            for name in ("ports.json", "doors.json"):
                (self._folder / arguments[0] / "nodes" / name).write_text("{}")
            self.templates.append(arguments[0])
            return
        with open(arguments[0]) as file:  # noqa: ASYNC230, PTH123  (a small file)
            plan = json.load(file)
        verdict = self.verdicts[plan["scenario"]].pop(0)
        with open(plan["result"], "w") as file:  # noqa: ASYNC230, PTH123  (a small file)
            json.dump({"verdict": verdict, "problem": "", "parts": {}, "statistics": {}}, file)


async def test_a_run_that_could_not_be_set_up_is_tried_once_more_on_other_ports(tmp_path):
    told = []
    verdicts = {"a": [NOT_RUN, PASSED], "b": [NOT_RUN, NOT_RUN], "c": [FAILED]}
    campaign = Scripted(tmp_path, verdicts, told)
    await campaign.run([("a", 1), ("b", 1), ("c", 1)])
    assert [(run[0], result["verdict"]) for run, result, _ in told] == [
        ("a", PASSED), ("b", NOT_RUN), ("c", FAILED),
    ]  # fmt: skip
    assert len(campaign.templates) == 4


async def test_lanes_share_the_runs(tmp_path):
    told = []
    campaign = Scripted(tmp_path, {"a": [PASSED] * 5}, told, jobs=2)
    await campaign.run([("a", seed) for seed in range(5)])
    assert sorted(seed for (_, seed), _, _ in told) == list(range(5))
    assert len(set(campaign.templates)) == 2


async def test_a_program_that_ends_badly_is_a_failure(tmp_path):
    told = []
    campaign = Campaign(tmp_path, jobs=1, tell=lambda *what: told.append(what))
    (tmp_path / "template-1" / "nodes").mkdir(parents=True)
    for name in ("ports.json", "doors.json"):
        (tmp_path / "template-1" / "nodes" / name).write_text("{}")
    await campaign.run([("no such scenario", 1)])
    ((_, result, _),) = told
    assert result["verdict"] == FAILED
    assert "KeyError" in result["problem"]


def test_a_port_that_is_taken_is_noticed(tmp_path, unused_tcp_port_factory):
    import socket

    (tmp_path / "nodes").mkdir()
    free = unused_tcp_port_factory()
    (tmp_path / "nodes" / "doors.json").write_text("{}")
    (tmp_path / "nodes" / "ports.json").write_text(json.dumps({"primary": {"port": free}}))
    assert taken_port(tmp_path) is None
    with socket.create_server(("127.0.0.1", free)):
        assert taken_port(tmp_path) == free


def lines_of(path, *runs, at="abc"):
    for scenario, seed, verdict in runs:
        result = {"verdict": verdict, "problem": "p", "statistics": {"kills": 2, "what": "x"}}
        report.add(path, report.line((scenario, seed), result, at=at, seconds=1.5))


def test_what_has_passed_at_the_same_commit_is_left_out(tmp_path):
    path = tmp_path / "deeper" / "report.jsonl"
    lines_of(path, ("a", 1, PASSED), ("a", 2, FAILED), ("b", 1, NOT_RUN))
    lines_of(path, ("b", 2, PASSED), at="older")
    assert report.passed_before(path, at="abc") == {("a", 1)}
    lines_of(path, ("c", 1, PASSED), at="abc+")
    assert report.passed_before(path, at="abc+") == set()
    assert report.passed_before(tmp_path / "none", at="abc") == set()


def test_a_failure_is_written_with_what_repeats_it(tmp_path):
    lines_of(tmp_path / "r", ("a", 2, FAILED))
    told = json.loads((tmp_path / "r").read_text())
    assert told["problem"] == "p"
    assert told["again"] == "python -m tests.faults --scenario a --seed 2"


def test_the_table_counts_verdicts_and_sums_what_passed(tmp_path):
    lines_of(tmp_path / "r", ("a", 1, PASSED), ("a", 2, FAILED), ("b", 1, PASSED))
    told = [json.loads(text) for text in (tmp_path / "r").read_text().splitlines()]
    shown = report.table(told).splitlines()
    assert shown[1].split() == ["a", "1", "1", "0", "1.5", "1.5"]
    assert shown[-2].split()[:4] == ["all", "2", "1", "0"]
    assert shown[-1] == "kills 4"
