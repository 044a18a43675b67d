"""Every measurement runs, in small sizes; how long anything takes is nobody's business here."""

import json
import sqlite3

import pytest

from bench import __main__ as bench
from bench.figure import Figure, median_of, percentile

FAST = {"decode", "digest", "merge_kinds"}
RESULT_KEYS = {"name", "value", "unit", "limit", "ratio", "required", "machine"}
MACHINE_KEYS = {"cores", "cpu", "python", "sqlite", "date", "commit"}
EXPECTED = {
    "push_merge": {"push_merge", "push_merge.apart"},
    "push_single": {"push_single", "push_single.p99"},
    "push_growth": {"push_growth.edits", "push_growth.inserts"},
    "bootstrap": {"bootstrap", "bootstrap.server_growth", "bootstrap.wire"},
    "pull_idle": {"pull_idle", "pull_idle.http"},
    "fanout": {"fanout", "fanout.lost"},
    "read": {"read"},
    "idle": {"idle", "idle.start"},
    "decode": {"decode", "decode.json"},
    "digest": {"digest"},
    "merge_kinds": {"merge_kinds.lww", "merge_kinds.add_wins"},
    "token_check": {"token_check.seen", "token_check.new"},
    "refresh": {"refresh", "refresh.p99", "refresh.cpu"},
    "login": {"login", "login.cpu"},
    "revocation": {"revocation", "revocation.p50"},
    "limits_exact": {"limits_exact", "limits_exact.workers"},
    "backup": {"backup.copy", "backup.push_p99"},
    "fleet_lag": {"fleet_lag", "fleet_lag.p99", "fleet_lag.file", "fleet_lag.loaded"},
    "fleet_push": {"fleet_push", "fleet_push.direct"},
    "fleet_read": {"fleet_read", "fleet_read.list"},
    "fleet_fanout": {"fleet_fanout", "fleet_fanout.lost"},
    "fleet_drain": {"fleet_drain", "fleet_drain.empty", "fleet_drain.many"},
    "fleet_promote": {"fleet_promote", "fleet_promote.hand_over"},
    "fleet_memory": {"fleet_memory", "fleet_memory.after", "fleet_memory.sqld"},
}


@pytest.mark.parametrize(
    "name",
    [
        name if name in FAST else pytest.param(name, marks=pytest.mark.slow)
        for name in bench.FIGURES
    ],
)
def test_a_figure_is_measured_and_written(name, tmp_path, capsys):
    output = tmp_path / "results.json"
    assert bench.main([name, "--quick", "--output", str(output)]) == 0
    results = json.loads(output.read_text())
    assert {result["name"] for result in results} >= EXPECTED[name]
    for result in results:
        assert result.keys() == RESULT_KEYS
        assert result["machine"].keys() == MACHINE_KEYS
        assert result["machine"]["sqlite"] == sqlite3.sqlite_version
        assert result["value"] >= 0
    assert name in capsys.readouterr().out


def test_every_figure_is_expected_here():
    assert set(EXPECTED) == set(bench.FIGURES)


def test_results_of_other_figures_are_kept(tmp_path):
    output = tmp_path / "results.json"
    bench.write(
        [Figure(name="one", value=1, unit="s"), Figure(name="two", value=1, unit="s")], output
    )
    bench.write([Figure(name="two", value=2, unit="s")], output)
    assert [(r["name"], r["value"]) for r in json.loads(output.read_text())] == [
        ("one", 1),
        ("two", 2),
    ]


def test_a_quick_run_leaves_the_results_alone(capsys):
    before = bench.RESULTS.read_bytes() if bench.RESULTS.exists() else None
    assert bench.main(["digest", "--quick"]) == 0
    assert (bench.RESULTS.read_bytes() if bench.RESULTS.exists() else None) == before


def test_an_unknown_name_is_refused(capsys):
    with pytest.raises(SystemExit) as ended:
        bench.main(["nothing"])
    assert ended.value.code == 2


def test_a_measurement_that_fails_does_not_hide_the_others(monkeypatch, capsys):
    def fail(*, quick):
        raise RuntimeError("on purpose")

    monkeypatch.setattr("bench.merge_kinds.measure", fail)
    assert bench.main(["merge_kinds", "digest", "--quick"]) == 1
    written = capsys.readouterr()
    assert "rows/s" in written.out
    assert "merge_kinds failed" in written.err


def test_what_is_required():
    figure = Figure(
        name="f", value=45_000, unit="changes/s", limit=100_000, at_least=40_000, ratio_at_least=0.5
    )
    assert (figure.ratio, figure.required) == (0.45, ">= 40,000 and ratio >= 0.5")
    assert figure.is_met is False
    assert Figure(name="f", value=3, unit="ms", at_most=3).is_met is True
    assert Figure(name="f", value=3, unit="ms").is_met is None


def test_medians_are_taken_of_each_number():
    rounds = [
        [Figure(name="f", value=value, unit="s", limit=limit)]
        for value, limit in ((1, 10), (5, 10), (3, 20))
    ]
    (figure,) = median_of(rounds)
    assert (figure.value, figure.limit, figure.ratio) == (3, 10, 0.15)


def test_percentiles():
    values = list(range(1, 101))
    assert [percentile(values, share) for share in (0.5, 0.99, 1)] == [50, 99, 100]
