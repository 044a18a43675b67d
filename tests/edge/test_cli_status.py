"""`skerry status`: the whole fleet from one node, and an exit code that monitors can use."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import pytest

from edge.cli import commands, main
from edge.cli.status import status
from edge.dto.fleet_status import FleetStatus, NodeStatus, TenantStatus
from edge.services.keys import KeyRing
from edge.services.tokens import Tokens
from edge.storage.key_files import KeyFiles
from edge.workers.serve_lock import DataLock


def node(name, **changed):
    known = {
        "role": "edge", "state": "joined", "region": "eu", "url": f"https://{name}:8788",
        "heard_ms_ago": 120, "sequences_behind": 3, "lag_ms": 250, "outbox": 0,
        "outbox_age_s": 0.0, "streams": 17, "version": "0.2.0", "breaker": "closed",
    }  # fmt: skip
    return NodeStatus(node=name, **{**known, **changed})


def fleet(*nodes):
    leader = NodeStatus("fra", "eu", "primary", "joined", "https://fra:8788", heard_ms_ago=0)
    return FleetStatus(7, "fra", [leader, *nodes], [TenantStatus("main", 90, 87)])


class Primary:
    """A node that answers one path, and keeps the tokens it was shown."""

    def __init__(self):
        self.answer = fleet()
        self.status = 200
        self.body = b""
        self.tokens = []
        primary = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                assert self.path == "/v1/operator/fleet"
                primary.tokens.append(self.headers["authorization"].removeprefix("Bearer "))
                body = primary.body or msgspec.json.encode(primary.answer)
                self.send_response(primary.status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def primary():
    made = Primary()
    yield made
    made.close()


@pytest.fixture
def data(tmp_path, primary):
    """A data folder that a running node holds."""
    KeyFiles(tmp_path / "keys").development_key()
    with DataLock(tmp_path) as lock:
        lock.publish(primary.url)
        yield tmp_path


@pytest.fixture
def skerry(capsys):
    if "status" not in commands:
        commands.command(status)

    def run(*arguments):
        code = 0
        try:
            main(["status", *(str(argument) for argument in arguments)])
        except SystemExit as end:
            code = end.code
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_a_healthy_fleet_is_shown_as_a_table(skerry, primary, data):
    primary.answer = fleet(node("ams"), node("gone", state="removed", heard_ms_ago=None))
    code, out, err = skerry("--data", data)
    assert (code, err) == (0, "")
    assert "epoch 7, primary fra" in out
    lines = [line.split() for line in out.splitlines()]
    ams = ["ams", "eu", "edge", "joined", "closed", "0.2.0", "https://ams:8788"]
    assert [*ams, "120", "3", "250", "0", "0.0", "17"] in lines
    assert ["main", "90", "87"] in lines
    tokens = Tokens(KeyRing(KeyFiles(data / "keys")), lifetime_s_max=86_400)
    assert tokens.verify(primary.tokens[0]).is_operator


def test_json_is_the_answer_and_steers_no_terminal(skerry, primary, data):
    primary.answer = fleet(node("ams", version="\x1b[2J\u009b2J"))
    code, out, _ = skerry("--data", data, "--json")
    assert code == 0
    assert msgspec.convert(json.loads(out), FleetStatus) == primary.answer
    assert out.isascii()
    assert "\x1b" not in out
    _, out, _ = skerry("--data", data)
    assert "\x1b" not in out
    assert "\u009b" not in out


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"heard_ms_ago": None}, "ams was not heard of"),
        ({"heard_ms_ago": 10_001}, "ams was not heard of for 10001 ms"),
        ({"lag_ms": 30_001}, "ams is 30001 ms behind"),
        ({"lag_ms": None}, "ams is an unknown time behind"),
    ],
)
def test_a_node_that_needs_a_look_makes_the_exit_code(skerry, primary, data, wrong, said):
    primary.answer = fleet(node("sin"), node("ams", **wrong))
    code, out, err = skerry("--data", data)
    assert code == 1
    assert err == f"skerry: {said}\n"
    assert "sin" in out, "the table is shown all the same"
    primary.answer = fleet(node("ams", **wrong, state="removed"))
    assert skerry("--data", data)[0] == 0


def test_a_fleet_without_a_primary_needs_a_look(skerry, primary, data):
    primary.answer = FleetStatus(7, "fra", [node("ams")], [])
    assert skerry("--data", data)[::2] == (1, "skerry: no node leads the fleet\n")


def test_a_primary_that_an_edge_has_not_heard_of_needs_a_look(skerry, primary, data):
    primary.answer = fleet(node("ams", heard_ms_ago=0))
    primary.answer.nodes[0].heard_ms_ago = None
    assert skerry("--data", data)[::2] == (1, "skerry: fra was not heard of\n")


def test_the_bound_is_the_settings(skerry, primary, data, monkeypatch):
    primary.answer = fleet(node("ams", lag_ms=5_000))
    assert skerry("--data", data)[0] == 0
    monkeypatch.setenv("SKERRY_LAG_MS_MAX", "4999")
    assert skerry("--data", data)[0] == 1


def test_another_node_is_asked_with_a_token_of_its_own(skerry, primary, data, monkeypatch):
    primary.answer = fleet(node("ams"))
    assert skerry("--url", primary.url + "/", "--data", data)[0] == 0
    monkeypatch.setenv("SKERRY_TOKEN", "given-token")
    assert skerry("--url", primary.url, "--data", data / "nowhere")[0] == 0
    assert primary.tokens[1] == "given-token"
    monkeypatch.delenv("SKERRY_TOKEN")
    code, _, err = skerry("--url", primary.url, "--data", data / "nowhere")
    assert code == 2
    assert "SKERRY_TOKEN" in err


WHY = b'{"detail": "No.\\u001b"}'


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"<html>", 200),
        (b"[]", 200),
        (b'{"epoch": "x"}', 200),
        (WHY, 403),
        (b"", 403),
        (b"[]", 502),
    ],
)
def test_an_answer_that_is_none_is_a_plain_failure(skerry, primary, data, body, code):
    primary.body, primary.status = body, code
    code, out, err = skerry("--url", primary.url, "--data", data)
    assert (code, out) == (1, "")
    assert err.startswith("skerry: ")
    assert "\x1b" not in err
    assert ("No." in err) == (body == WHY)


def test_a_node_that_is_away_is_a_failure(skerry, tmp_path):
    KeyFiles(tmp_path / "keys").development_key()
    assert skerry("--url", "http://127.0.0.1:1", "--data", tmp_path)[0] == 1
    assert skerry("--data", tmp_path)[0] == 1
