"""`skerry conformance`: exit codes, the report, the app."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.server import known_app
from tests.e2e.node_process import NodeProcess

ADAPTER = f"{sys.executable} -m skerry_client.conformance"
SKERRY = [sys.executable, "-m", "edge.cli"]


def skerry(*arguments, **environment):
    return subprocess.run(
        [*SKERRY, "conformance", *arguments],
        capture_output=True, text=True, timeout=120, check=False, **environment,
    )  # fmt: skip


def test_a_client_and_its_report(tmp_path):
    report = tmp_path / "report.json"
    done = skerry("client", ADAPTER, "--only", "clock/", "--json", str(report))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1:] == [
        "passed   clock/pack",
        "passed   clock/ticks",
        "client: 2 passed, 0 failed, 0 skipped",
    ]
    assert [case["outcome"] for case in json.loads(report.read_text())["cases"]] == ["passed"] * 2


def test_nothing_to_ask_is_a_failure():
    assert skerry("client", ADAPTER, "--only", "ghost").returncode == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("client", "there-is-no-such-program"), "cannot be started"),
        (("server", "http://127.0.0.1:9", "--token", "x"), "PERSON=TOKEN"),
        (("server", "http://127.0.0.1:9"), "there is no token for conformance-ann"),
        (
            ("server", "http://127.0.0.1:9", "--token", "conformance-ann=x"),
            "skerry conformance app",
        ),
        (("server", "http://127.0.0.1:9", "--token-command", "false"), "ended with 1"),
    ],
)
def test_what_cannot_be_asked_is_said_in_words(arguments, words):
    done = skerry(*arguments)
    assert done.returncode == 2
    assert words in done.stderr


@pytest.mark.slow
def test_the_app_is_a_module_that_can_be_served_and_asked_by_commands(tmp_path):
    module = tmp_path / "conformance_app.py"
    module.write_text(skerry("app").stdout)
    assert module.read_text() == Path(known_app.__file__).read_text()
    with NodeProcess(data=tmp_path / "node", module=module) as node:
        program = f"{sys.executable} -m edge.cli"
        done = skerry(
            "server", node.url,
            "--token-command", f"{program} token --data {node.data} --person",
            "--member-command", f"env SKERRY_DATA={node.data} {program} member",
            "--only", "read/gained", "--strict",
        )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "server: 1 passed, 0 failed, 0 skipped"
