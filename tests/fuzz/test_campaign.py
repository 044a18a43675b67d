"""Campaigns, as far as they can be tested without an engine; and mutations, their other half."""

import importlib.util
import os
import subprocess
from random import Random

import msgspec

from tests.fuzz import corpus, process
from tests.fuzz.__main__ import main
from tests.fuzz.campaign import _outcome, _saved
from tests.fuzz.mutation import mutated
from tests.fuzz.target import Target

PRINTED = """\
#2	INITED cov: 6 ft: 6 corp: 1/1b exec/s: 0 rss: 49Mb
#1048576	pulse  cov: 50 ft: 270 corp: 60/4096b lim: 4096 exec/s: 9525 rss: 49Mb
#2097152	DONE   cov: 56 ft: 279 corp: 61/8Kb lim: 4096 exec/s: 9617 rss: 60Mb
Done 2097152 runs in 218 second(s)
stat::number_of_executed_units: 2097152
stat::average_exec_per_sec:     9617
"""


def harmless(content: bytes) -> None:
    """Take everything."""


def picky(content: bytes) -> None:
    assert b"\x07" not in content


SAMPLE = Target("sample", harmless, lambda: [b""], bytes_max=300, is_tree=True, prefix_bytes=1)


def test_figures_are_those_that_were_printed_last():
    outcome = _outcome(SAMPLE, PRINTED, ())
    assert (outcome.executions, outcome.executions_per_second) == (2_097_152, 9_617)
    assert (outcome.edges, outcome.features, outcome.kept) == (56, 279, 61)


def test_a_crash_is_shrunk_and_saved_and_a_hang_is_saved_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "REGRESSIONS", tmp_path / "regressions")
    target = Target("sample", picky, lambda: [b""])
    for name, kept in (("crash-1", b"\x07"), ("timeout-1", b"much \x07 else")):
        (tmp_path / name).write_bytes(b"much \x07 else")
        path = _saved(target, tmp_path / name)
        assert path.read_bytes() == kept
        assert path.name == corpus.name_of(kept)


def test_libfuzzer_can_start_itself_again(tmp_path):
    path = process.launcher_in(tmp_path, "sample")
    assert os.access(path, os.X_OK)
    assert f"{process.ARGUMENT} sample" in path.read_text()
    assert subprocess.run(["sh", "-n", path], check=False).returncode == 0


def test_without_the_engine_its_name_is_told(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    assert main(["--target", "rows"]) == 2
    assert "--group fuzz" in capsys.readouterr().err


def test_mutations_are_bounded_repeatable_and_change_trees():
    tree = b"\x05" + msgspec.msgpack.encode({"kind": "pull", "cursor": {"sequence": 1}, "x": [1]})
    changed = set()
    for seed in range(500):
        made = mutated(tree, b"other", Random(seed), SAMPLE)
        assert made == mutated(tree, b"other", Random(seed), SAMPLE)
        assert len(made) <= SAMPLE.bytes_max
        if made[:1] == tree[:1]:
            try:
                changed.add(msgspec.json.encode(msgspec.msgpack.decode(made[1:])))
            except (ValueError, TypeError, RecursionError):
                continue
    assert len(changed) > 100
    assert any(text.count(b"[") > 10 for text in changed), "nothing is nested"
