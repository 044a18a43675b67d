"""The `skerry` command: what it prints, what it refuses, and its exit codes."""

import json
from pathlib import Path

import pytest

from edge.cli import main
from edge.services.keys import KeyRing
from edge.services.tokens import Tokens
from edge.storage.key_files import KeyFiles
from edge.workers.serve_lock import DataLock

MODULE = str(Path(__file__).parent / "controllers" / "fakes.py")


def run(*arguments):
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as end:
        return end.code or 0
    return 0


def test_a_token_that_it_prints_is_taken(tmp_path, capsys):
    assert run("token", "--person", "ada", "--admin", "--ttl", "5m", "--data", tmp_path) == 0
    token = capsys.readouterr().out.strip()
    tokens = Tokens(KeyRing(KeyFiles(tmp_path / "keys")), lifetime_s_max=86_400)
    principal = tokens.verify(token)
    assert (principal.person, principal.tenant, principal.is_admin) == ("ada", "main", True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "nonsense"),
        (["token"], "person"),
        (["token", "--person", "../ada"], "person"),
        (["token", "--person", "ada", "--ttl", "forever"], "duration"),
        (["token", "--person", "ada", "--ttl", "9d"], "86400"),
        (["serve"], "MODULE"),
        (["serve", "missing.py"], "missing.py is not a file"),
        (["serve", MODULE, "--port", "99999"], "SKERRY_PORT"),
        (["serve", MODULE, "--port", "http"], "port"),
        (["serve", MODULE, "--workers", "0"], "SKERRY_WORKERS"),
        (["serve", MODULE, "--synchronous", "off"], "full"),
        (["serve", MODULE, "--tenant", "../x"], "tenant"),
        (["serve", MODULE, "--origin", "example.org"], "origin"),
        (["openapi", "missing.py"], "missing.py"),
        (["member", "set", "north", "ada"], "ROLE"),
    ],
)
def test_wrong_use_ends_with_2_and_says_why(arguments, said, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("SKERRY_DATA", str(tmp_path))
    assert run(*arguments) == 2
    captured = capsys.readouterr()
    assert said in captured.err + captured.out


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("x = 1", "has no App called 'app'"),
        ("app = 1", "has no App called 'app'"),
        ("raise RuntimeError('sesame')", "RuntimeError: sesame"),
        ("app = (", "SyntaxError"),
        ("from core import App\napp = App('Bad Name', version=1, spaces={})", "cannot be served"),
    ],
)
def test_a_module_that_cannot_be_served_is_explained(tmp_path, capsys, source, said):
    module = tmp_path / "broken.py"
    module.write_text(source)
    assert run("openapi", module) == 2
    assert said in capsys.readouterr().err


def test_tenants_and_members_without_a_running_node(tmp_path, capsys):
    assert run("tenant", "create", "north-club", MODULE, "--data", tmp_path) == 0
    assert run("tenant", "list", "--data", tmp_path) == 0
    assert capsys.readouterr().out == "north-club\n"
    there = ["--tenant", "north-club", "--module", MODULE, "--data", tmp_path]
    assert run("member", "set", "north", "ada", "surveyor", *there) == 0
    assert run("member", "list", "north", *there) == 0
    assert capsys.readouterr().out == "ada\tsurveyor\n"
    assert run("member", "remove", "north", "ada", *there) == 0
    assert run("member", "remove", "north", "ada", *there) == 1
    assert run("member", "set", "north", "ada", "king", *there) == 1
    assert run("member", "list", "north", "--tenant", "north-club", "--data", tmp_path) == 2


def test_a_folder_in_use_is_left_alone(tmp_path, capsys):
    with DataLock(tmp_path) as lock:
        lock.publish("http://127.0.0.1:1")
        assert run("tenant", "create", "x", MODULE, "--data", tmp_path) == 1
        assert "http://127.0.0.1:1" in capsys.readouterr().err
        assert run("member", "list", "north", "--data", tmp_path) == 1
        assert "does not answer" in capsys.readouterr().err
    assert DataLock(tmp_path).address() is None


def test_the_openapi_document_is_printed(capsys):
    assert run("openapi", MODULE) == 0
    assert json.loads(capsys.readouterr().out)["openapi"] == "3.1.0"


def test_the_version_is_printed(capsys):
    assert run("version") == 0
    assert capsys.readouterr().out.strip()
