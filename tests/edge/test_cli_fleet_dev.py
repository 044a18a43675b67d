"""`skerry fleet dev`, and the fleet on one machine that tests and measurements use as a library."""

import json
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from edge.cli.failure import CommandError
from edge.cli.fleet import HEADINGS, _columns, _table, fleet
from edge.errors import Unavailable
from edge.settings import SettingError
from edge.workers import fleet_dev
from edge.workers.fleet_dev import DevFleet, enrol, free_ports
from edge.workers.fleet_status import NodeStatus, fleet_status
from tests.edge.workers.supervised import is_alive

MODULE = Path(__file__).parent / "controllers" / "fakes.py"
ROOT = Path(__file__).parents[2]
METRICS = b"""# TYPE skerry_sequence_sum gauge
skerry_sequence_sum 12
skerry_streams 3.0
skerry_outbox_mutations 7
skerry_is_primary 0
skerry_replica_lag_milliseconds_max %s
"""


def all_pids(nodes):
    found = [pid for node in nodes for pid in (node.pid, node.node_pid(), node.sqld_pid())]
    assert all(found)
    return found


def wait_until_gone(pids):
    deadline = time.monotonic() + 20
    while any(map(is_alive, pids)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_a_fleet_is_killed_restarted_stopped_and_started_again(tmp_path):
    joined = []

    def counted(primary, edge):
        joined.append((primary.name, edge.name))
        enrol(primary, edge)

    fleet_of_two = DevFleet(MODULE, tmp_path, ["ams"], enrol=counted, settings={"drain_s": "1"})
    with fleet_of_two as started:
        primary, (edge,) = started.primary, started.edges
        assert (primary.name, edge.name, edge.region) == ("primary", "edge-ams", "ams")
        assert [status.state for status in fleet_status([primary.url, edge.url])] == ["ready"] * 2
        pids = all_pids(started.nodes)
        primary.kill()
        wait_until_gone(pids[:3])
        assert (primary.pid, primary.node_pid(), primary.sqld_pid()) == (None, None, None)
        assert fleet_status([primary.url])[0].state == "away"
        primary.restart()
        pids = all_pids(started.nodes)
        assert fleet_status([primary.url])[0].is_ready
    wait_until_gone(pids)
    again = DevFleet(MODULE, tmp_path, ["ams"], enrol=counted)
    assert [node.url for node in again.nodes] == [primary.url, edge.url]
    with again:
        assert fleet_status([edge.url])[0].is_ready
    assert joined == [("primary", "edge-ams")]


def test_a_fleet_that_cannot_start_says_why_and_leaves_nothing_behind(tmp_path):
    def fails(_primary, _edge):
        raise Unavailable("no token")

    refused = DevFleet(MODULE, tmp_path / "a", ["ams"], enrol=fails)
    with pytest.raises(Unavailable, match="no token"):
        refused.start()
    assert not refused.primary.is_running
    broken = DevFleet(MODULE, tmp_path / "b", [], settings={"sqld_http": "0.0.0.0:1"})
    with pytest.raises(Unavailable, match=r"primary has ended(.|\n)*sqld_http"):
        broken.start()


def test_a_command_that_fails_is_told_without_its_values(tmp_path):
    node = DevFleet(MODULE, tmp_path, ["ams", "ams"]).edges[1]
    assert node.name == "edge-ams-2"
    assert node.run("version").strip()
    with pytest.raises(Unavailable, match="skerry tenant suspend on edge-ams-2 has failed") as told:
        node.run("tenant", "suspend", "sesame")
    assert "sesame" not in told.value.message.partition(":")[0]


@pytest.mark.slow
def test_the_command_shows_its_nodes_and_stops_them_when_it_is_told_to(tmp_path):
    (port,) = free_ports(1)
    arguments = ["dev", str(MODULE), "--data", str(tmp_path / "f"), "--port", str(port)]
    process = subprocess.Popen(
        [sys.executable, "-m", "edge.cli", "fleet", *arguments, "--regions", "ams"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline().split("\t") for _ in range(2)]
        assert [line[:2] for line in lines] == [["primary", "-"], ["edge-ams", "ams"]]
        assert lines[0][2] == f"http://127.0.0.1:{port}"
        assert [line[3] for line in lines] == ["ready", "ready"]
        pids = [
            pid
            for name in ("primary", "edge-ams")
            for pid in json.loads((tmp_path / "f" / name / "processes.json").read_text()).values()
        ]
        assert all(map(is_alive, pids))
        process.send_signal(signal.SIGTERM)
        _, complaint = process.communicate(timeout=60)
        assert (process.returncode, complaint) == (0, "")
        assert not any(map(is_alive, pids))
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (["missing.py"], CommandError, "missing.py is not a file"),
        ([str(MODULE), "--port", "99999"], SettingError, "port"),
        ([str(MODULE), "--regions", ""], CommandError, "between 1 and 8 regions"),
        ([str(MODULE), "--regions", "a,b,c,d,e,f,g,h,i"], CommandError, "not 9"),
        ([str(MODULE), "--regions", "ams,../syd"], CommandError, "'../syd'"),
        ([str(MODULE), "--regions", "a" * 30], CommandError, "cannot name a region"),
    ],
)
def test_wrong_use_is_told_before_anything_starts(tmp_path, arguments, error, said):
    with pytest.raises(error, match=said.replace(".", r"\.")):
        fleet(["dev", *arguments, "--data", str(tmp_path / "f")], exit_on_error=False)
    assert not (tmp_path / "f").exists()


@pytest.fixture
def node_that_says():
    """Serve one page of metrics, and a state of health, as a node would."""
    servers = []

    def serve(metrics, health=200):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                is_health = self.path == "/health/ready"
                self.send_response(health if is_health else 200)
                self.end_headers()
                self.wfile.write(b"{}" if is_health else metrics)

            def log_message(self, *arguments):
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_no_port_is_given_twice_before_somebody_listens_on_it(monkeypatch):
    monkeypatch.setattr(fleet_dev, "PORTS", range(31_000, 31_040))
    given = [port for _ in range(5) for port in free_ports(5)]
    assert len(set(given)) == 25


def test_what_nodes_say_is_read_and_what_they_do_not_say_stays_open(node_that_says):
    (gone,) = free_ports(1)
    urls = [
        node_that_says(METRICS % b"41.7"),
        node_that_says(METRICS % b"NaN", health=503),
        f"http://127.0.0.1:{gone}",
        node_that_says(b"\xff\xfe{"),
        node_that_says(b"# " + b"x" * 5_000_000),
    ]
    shown = {"leads": False, "sequence": 12, "outbox": 7, "streams": 3}
    assert fleet_status(urls) == [
        NodeStatus(urls[0], "ready", lag_ms=42, **shown),
        NodeStatus(urls[1], "not ready", **shown),
        NodeStatus(urls[2], "away"),
        NodeStatus(urls[3], "ready"),
        NodeStatus(urls[4], "ready"),
    ]
    assert fleet_status([]) == []


def test_the_table_has_a_row_for_every_node(tmp_path):
    nodes = DevFleet(MODULE, tmp_path, ["ams"]).nodes
    statuses = [NodeStatus(nodes[0].url, "ready", leads=True, sequence=5), NodeStatus("", "away")]
    table = _table(nodes, statuses)
    assert [column.header for column in table.columns] == list(HEADINGS)
    assert table.row_count == 2
    expected = ("primary", "", nodes[0].url, "ready", "primary", "5", "-", "-", "-")
    assert _columns(nodes[0], statuses[0]) == expected
