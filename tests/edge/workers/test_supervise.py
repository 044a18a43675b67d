"""The supervisor, with real sqld and real kills: restarts, draining, orphans, changes of role."""

import os
import signal
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest

from core.fleet import Role
from edge.settings import Settings, read_settings
from edge.workers.lock_file import LockFile
from edge.workers.role_file import NodeRole, RoleFile
from edge.workers.role_folder import fenced
from edge.workers.serve_lock import DataLock
from edge.workers.supervise import KILL_AFTER_S, ORPHAN_S, node_environment
from tests.edge.workers.supervised import SECONDS_MAX, Supervised, is_alive

INSERT = "INSERT INTO note VALUES ('kept')"


def write_note(node):
    node.make_namespace("t-main")
    node.sql("t-main", "CREATE TABLE note (text TEXT)")
    node.sql("t-main", INSERT)


def notes(node):
    return [text for (text,) in node.sql("t-main", "SELECT text FROM note ORDER BY text")]


def kill(pid):
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def test_a_child_that_is_killed_comes_back_and_the_other_stays(tmp_path):
    with Supervised(tmp_path / "a", role="primary", primary_url="") as node:
        assert node.events() == ["started primary 0 - - 1"]
        write_note(node)
        before = node.pids()
        kill(before["node"])
        node.wait_for(lambda: len(node.events()) == 2)
        between = node.pids()
        assert between["sqld"] == before["sqld"]
        assert between["node"] not in (None, before["node"])
        kill(before["sqld"])
        node.wait_for(lambda: node.pids()["sqld"] != before["sqld"])
        node.wait_for(lambda: node.log.count('"sqld-ready"') == 2)
        assert node.pids()["node"] == between["node"]
        assert notes(node) == ["kept"]
        assert len(node.events()) == 2


def test_sigterm_drains_the_node_while_its_sqld_still_serves(tmp_path):
    with Supervised(tmp_path / "a", role="primary") as node:
        pids = node.pids()
        (node.data / "linger").write_text("0.3")
        assert node.stop() == 0, node.log
        assert node.events()[1:] == ["drained"]
        assert not any(map(is_alive, pids.values()))


def test_children_end_with_a_killed_supervisor_and_the_next_one_waits_for_them(tmp_path):
    with Supervised(tmp_path / "a", role="primary") as node:
        write_note(node)
        orphans = node.pids()
        (node.data / "linger").write_text("0.5")
        node.kill()
        assert is_alive(orphans["node"])
        node.start()
        node.wait_for(lambda: len(node.events()) == 3)
        assert node.events()[1].startswith("drained")
        assert node.events()[2].startswith("started")
        assert not is_alive(orphans["node"])
        assert not is_alive(orphans["sqld"])
        assert notes(node) == ["kept"]
        assert '"child-ended"' not in node.log


def test_no_sqld_starts_beside_one_that_a_killed_supervisor_left(tmp_path):
    with Supervised(tmp_path / "a", role="primary") as node:
        path = node.data / "sqld.lock"
        assert path in {fd.readlink() for fd in Path(f"/proc/{node.pids()['sqld']}/fd").iterdir()}
        lock = LockFile(path)
        assert not lock.is_free()
        node.kill()
        take_when_free(lock)
        node.start()
        node.wait_for(lambda: '"child": "sqld", "event": "waiting-for-orphan"' in node.log)
        assert node.pids()["sqld"] is None
        lock.release()
        node.wait_for(lambda: len(node.events()) == 3)


def take_when_free(lock):
    deadline = time.monotonic() + 20
    while not lock.take():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
def test_a_folder_that_another_node_keeps_using_is_refused(tmp_path):
    node = Supervised(tmp_path / "a", role="primary", drain_s=0)
    with DataLock(node.data) as lock:
        lock.publish("http://127.0.0.1:1")
        node.start()
        assert node.wait(ORPHAN_S + KILL_AFTER_S + SECONDS_MAX) == 1
        assert "Another node uses" in node.log
        assert lock.address() == "http://127.0.0.1:1"
    assert not node.events()


def test_a_second_supervisor_on_the_folder_is_refused(tmp_path):
    with Supervised(tmp_path / "a", role="primary") as node:
        second = Supervised(tmp_path / "a", role="primary")
        second.start()
        assert second.wait() == 1
        assert "Another supervisor runs on" in node.log
        assert is_alive(node.pids()["node"])


def test_sqld_waits_until_its_address_is_free(tmp_path):
    node = Supervised(tmp_path / "a", role="primary", crashes_max=1_000)
    host, _, port = node.http.rpartition(":")
    with socket.create_server((host, int(port))):
        node.start()
        node.wait_for(lambda: f"another process listens on {node.http}" in node.log)
        assert node.pids()["sqld"] is None
        assert not node.events()
    node.wait_for(node.events)
    assert node.stop() == 0


@pytest.mark.parametrize("crashes_max", [0, 3])
def test_a_node_that_keeps_crashing_ends_everything(tmp_path, crashes_max):
    node = Supervised(tmp_path / "a", role="primary", crashes_max=crashes_max)
    (node.data / "exit").write_text("3")
    node.start()
    assert node.wait() == 1
    assert "failed: node keeps crashing" in node.log
    assert node.log.count('"child-ended"') == crashes_max + 1
    assert len(node.events()) == crashes_max + 1
    assert not is_alive(node_pid_of(node.log, "sqld"))


def node_pid_of(log, child):
    (line,) = [x for x in log.splitlines() if f'"child": "{child}"' in x and "child-started" in x]
    return int(line.partition('"pid": ')[2].partition(",")[0])


def test_a_node_takes_over_and_the_old_primary_follows_it(tmp_path):
    with (
        Supervised(tmp_path / "a", role="primary") as old,
        Supervised(
            tmp_path / "b",
            role="edge",
            primary_url="http://old",
            primary_grpc_url=f"http://{old.grpc}",
        ) as new,
    ):
        write_note(old)
        assert new.events() == [f"started edge 0 http://old http://{old.grpc} 1"]
        assert notes(new) == ["kept"]

        new.change_role(NodeRole(Role.PRIMARY, 1, "", ""))
        assert new.events()[1:] == [f"started primary 1 http://old http://{old.grpc} 1"]
        assert notes(new) == ["kept"]
        new.sql("t-main", "INSERT INTO note VALUES ('new')")

        old.sql("t-main", "INSERT INTO note VALUES ('never replicated')")
        (old.data / "tenants").mkdir()
        (old.data / "tenants" / "main.db").write_text("working copy")
        old.change_role(NodeRole(Role.EDGE, 1, "http://new", f"http://{new.grpc}"))
        assert old.events()[1:] == [f"started edge 1 http://new http://{new.grpc} 1"]
        assert notes(old) == ["kept", "new"]
        (aside,) = fenced(old.data)
        assert b"never replicated" in b"".join(
            file.read_bytes() for file in (aside / "sqld" / "dbs" / "t-main").glob("data*")
        )
        assert (aside / "tenants" / "main.db").read_text() == "working copy"
        assert not (old.data / "tenants").exists()
        for node in (old, new):
            assert '"child-ended"' not in node.log


def test_a_role_whose_node_was_killed_before_it_could_say_so_is_taken_up_whole(tmp_path):
    url = "http://127.0.0.1:1"
    with Supervised(tmp_path / "a", role="edge", primary_grpc_url=url) as node:
        before = node.pids()
        RoleFile(node.data).write(NodeRole(Role.PRIMARY, 2, "", ""))
        kill(before["node"])
        node.wait_for(lambda: len(node.events()) == 2)
        assert node.events()[1] == f"started primary 2 - {url} 1"
        assert node.pids()["sqld"] != before["sqld"], "it would go on as a replica"
        started = RoleFile(node.data, "started.json").read()
        assert started == NodeRole(Role.PRIMARY, 2, "", url)
        kill(node.pids()["node"])
        node.wait_for(lambda: len(node.events()) == 3)
        assert node.log.count('"event": "role"') == 2, "a kill alone changes no role"


def test_the_role_file_decides_also_after_a_restart_and_a_damaged_one_stops(tmp_path):
    node = Supervised(tmp_path / "a", role="edge")
    RoleFile(node.data).write(NodeRole(Role.PRIMARY, 7, "", ""))
    with node:
        assert node.events() == ["started primary 7 - - 1"]
        (node.data / "role.json").write_text('{"role": "king"')
        (node.data / "exit").write_text("75")
        assert node.wait() == 1
        assert "role.json does not hold the role of a node" in node.log
        assert not any(is_alive(pid) for pid in node.pids().values() if pid)


def test_a_node_that_changes_its_role_without_end_is_stopped(tmp_path):
    with Supervised(tmp_path / "a", role="primary") as node:
        deadline = time.monotonic() + 20
        while node.is_running and time.monotonic() < deadline:
            (node.data / "exit").write_text("75")
            time.sleep(0.01)
        assert node.wait() == 1
        assert "keeps changing its role" in node.log


def test_the_node_gets_every_setting_that_is_in_force(tmp_path):
    settings = read_settings(
        {}, data=tmp_path, tenants=["a", "b"], origins=["https://a.example"], metrics_public=False,
        limits="login.account=10/5m,push.device=off", role="primary", drain_s=3,
    )  # fmt: skip
    role = NodeRole(Role.EDGE, 4, "https://p", "https://g")
    given = node_environment(settings, role, {"PATH": "/bin", "SKERRY_PORT": "1"})
    assert read_settings(given) == replace(
        settings, role="edge", primary_url="https://p", primary_grpc_url="https://g"
    )
    assert (given["PATH"], given["SKERRY_EPOCH"]) == ("/bin", "4")
    assert read_settings(node_environment(Settings(), role, {})).metrics_public is None
