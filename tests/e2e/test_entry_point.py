"""The image's entry point and fly.toml's commands, run as they are written, without a container.

Only what belongs to the place is replaced: addresses become free ones on loopback, the volume a
folder, /app/app.py the file that the Dockerfile copies there, and certificates are left out.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
import uuid
from pathlib import Path

import httpx
import pytest

from edge.settings import Settings, parse_duration_s
from edge.workers.sqld_binary import find_sqld
from tests.conformance.sqld_process import free_address

ROOT = Path(__file__).resolve().parents[2]
FLY = tomllib.loads((ROOT / "fly.toml").read_text("utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
KILL_TIMEOUT_S = parse_duration_s(FLY["kill_timeout"])
READY_SECONDS_MAX = 60
MARK = "ENTRY_POINT_TEST"
UID = 1000
IS_ROOT = os.geteuid() == 0


def exec_form(instruction):
    (found,) = re.findall(rf"^{instruction} (\[.+\])$", DOCKERFILE, re.MULTILINE)
    return json.loads(found)


def at_home(command):
    """Replace what lies at another place in the image than in the repository."""
    copied = re.findall(r"^COPY (?!--from)(\S+) (/\S+)$", DOCKERFILE, re.MULTILINE)
    places = {there: str(ROOT / here) for here, there in copied}
    return [places.get(word, word) for word in command]


def port_of(address):
    return address.rpartition(":")[2]


class Started:
    """One process tree; every process of it carries a mark in its environment."""

    def __init__(self, command, data, **more):
        self.command, self.data = command, data
        self.mark = uuid.uuid4().hex
        self.public, self.internal, self.grpc, self.sql, self.admin = (
            free_address() for _ in range(5)
        )
        kept = {name: text for name, text in os.environ.items() if not name.startswith("SKERRY_")}
        self.environment = {
            **kept,
            **FLY["env"],
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "SKERRY_HOST": "127.0.0.1",
            "SKERRY_PORT": port_of(self.public),
            "SKERRY_DATA": str(data),
            "SKERRY_SQLD": str(find_sqld(Settings(), os.environ)),
            "SKERRY_INTERNAL_HOST": "127.0.0.1",
            "SKERRY_INTERNAL_PORT": port_of(self.internal),
            "SKERRY_URL": f"http://{self.internal}",
            "SKERRY_SQLD_GRPC": self.grpc,
            "SKERRY_GRPC_URL": f"http://{self.grpc}",
            "SKERRY_SQLD_HTTP": self.sql,
            "SKERRY_SQLD_ADMIN": self.admin,
            **dict.fromkeys(("SKERRY_TLS_CA", "SKERRY_TLS_CERT", "SKERRY_TLS_KEY"), ""),
            "FLEET_TLS_KEY": "is in a file",
            MARK: self.mark,
            **more,
        }
        self.log = data.with_suffix(".log")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, env=self.environment, cwd=data.parent, stdout=log, stderr=log
            )

    def processes(self):
        """The command lines of all processes of the tree, wherever they were moved to."""
        sought = f"{MARK}={self.mark}".encode()
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if sought in (folder / "environ").read_bytes().split(b"\0"):
                    found[int(folder.name)] = (folder / "cmdline").read_bytes().decode()
            except OSError:
                continue  # it has ended, or is somebody else's
        return {pid: line for pid, line in found.items() if line}

    def wait_for(self, address, path):
        deadline = time.monotonic() + READY_SECONDS_MAX
        said = "nothing"
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            try:
                answer = httpx.get(f"http://{address}{path}", timeout=5, trust_env=False)
                if answer.is_success:
                    return
                said = answer.text
            except httpx.HTTPError as error:
                said = str(error)
            time.sleep(0.05)
        pytest.fail(f"{path} answers {said}; {self.log.read_text()[-3000:]}")

    def wait_for_log(self, text):
        deadline = time.monotonic() + READY_SECONDS_MAX
        while text not in self.log.read_text():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def skerry(self, *words):
        """Run a command beside the node, as an operator does over SSH; return what it prints."""
        done = subprocess.run(
            ["skerry", *words], env={**self.environment, MARK: ""}, timeout=60, check=False,
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def stop_as_fly_does(self):
        """Send the kill signal; return (exit code, processes left after the kill timeout)."""
        self.process.send_signal(getattr(signal, FLY["kill_signal"]))
        deadline = time.monotonic() + KILL_TIMEOUT_S
        while (self.process.poll() is None or self.processes()) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert "child-killed" not in self.log.read_text(), "a child did not stop by itself"
        return self.process.poll(), self.processes()

    def end(self):
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        self.process.wait(10)


@pytest.fixture
def start(tmp_path):
    """Start commands on folders of their own; whatever is left of them ends with the test."""
    started = []

    def starter(command, name, *, files=None, **more):
        data = tmp_path / name
        data.mkdir()
        for path, text in (files or {}).items():
            (data / path).write_text(text)
        started.append(Started(at_home(command), data, **more))
        return started[-1]

    yield starter
    for one in reversed(started):
        one.end()


def whole(command):
    """ENTRYPOINT and command, as a user who is not root.

    Root would become uid 1000, who may not read this Python; in a user namespace it keeps its files
    and has another uid. What the entry point does for root has a test of its own below.
    """
    other_user = ["unshare", "--user", "--"] if IS_ROOT else []
    return [*other_user, *exec_form("ENTRYPOINT"), *command]


def test_the_image_serves_by_itself_and_stops(start):
    node = start(whole(exec_form("CMD")), "standalone")
    node.wait_for(node.public, "/health/ready")
    assert len(node.processes()) == 1, "no sqld, no supervisor"
    assert node.stop_as_fly_does() == (0, {})


def test_a_primary_runs_with_its_sqld_and_both_stop(start):
    node = start(whole(shlex.split(FLY["processes"]["primary"])), "primary")
    node.wait_for(node.public, "/health/ready")
    node.wait_for(node.sql, "/health")
    lines = node.processes()
    assert sum("sqld" in Path(line.split("\0")[0]).name for line in lines.values()) == 1
    assert len(lines) == 3, "supervisor, node, sqld"
    assert node.stop_as_fly_does() == (0, {})


def test_the_role_in_the_folder_outranks_the_group(start):
    """After a promotion the Machine of an edge restarts as the primary it has become."""
    edge = start(
        whole(shlex.split(FLY["processes"]["edge"])), "promoted",
        files={"role.json": json.dumps({"role": "primary", "epoch": 2})},
    )  # fmt: skip
    edge.wait_for(edge.sql, "/health")
    (sqld,) = [line for line in edge.processes().values() if "--db-path" in line]
    assert "--grpc-listen-addr" in sqld
    assert "--primary-grpc-url" not in sqld


def test_a_new_edge_waits_to_be_joined_and_stops(start):
    """One that ended could not be joined over SSH, and one that served would hold the folder."""
    edge = start(whole(shlex.split(FLY["processes"]["edge"])), "edge")
    edge.wait_for_log("waiting-to-join")
    assert edge.process.poll() is None
    assert list(edge.data.iterdir()) == [], "joining wants an empty folder"
    assert edge.stop_as_fly_does() == (0, {})


def test_an_edge_joins_with_the_commands_of_the_manual_and_both_nodes_stop(start):
    primary = start(whole(shlex.split(FLY["processes"]["primary"])), "primary", SKERRY_NODE="one")
    edge = start(
        whole(shlex.split(FLY["processes"]["edge"])), "edge", SKERRY_NODE="two",
        SKERRY_PRIMARY_URL=f"http://{primary.internal}",
        SKERRY_PRIMARY_GRPC_URL=f"http://{primary.grpc}",
    )  # fmt: skip
    primary.wait_for(primary.public, "/health/ready")
    edge.wait_for_log("waiting-to-join")
    token = primary.skerry("node", "invite", "--node", "two", "--region", "nrt").split()[0]
    edge.skerry(
        "node", "join", "--primary", f"http://{primary.internal}", "--token", token,
        "--url", f"http://{edge.internal}", "--grpc-url", f"http://{edge.grpc}",
    )  # fmt: skip
    edge.wait_for(edge.public, "/health/ready")
    edge.wait_for(edge.sql, "/health")
    assert "two" in primary.skerry("node", "list")
    assert len(edge.processes()) == 3, "supervisor, node, sqld"
    assert edge.stop_as_fly_does() == (0, {})
    assert primary.stop_as_fly_does() == (0, {})


@pytest.fixture
def volume():
    """A new volume: root's, and in a folder that others may pass through."""
    folder = Path(tempfile.mkdtemp(prefix="skerry-volume-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def run_entry_point(script, **environment):
    """Run a shell script by way of the entry point; return (pid of the entry point, its output)."""
    command = at_home([*exec_form("ENTRYPOINT"), "sh", "-c", script])
    process = subprocess.Popen(
        [str(word) for word in command],
        env={"PATH": os.environ["PATH"], **environment}, text=True, cwd="/",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0, output
    return process.pid, output


def test_the_command_takes_the_place_of_the_entry_point(volume):
    pid, output = run_entry_point(
        'echo $$ "${FLEET_TLS_KEY-gone}"', SKERRY_DATA=str(volume), FLEET_TLS_KEY="secret"
    )
    assert output.split() == [str(pid), "gone"], "signals reach it, and the key is not handed on"


@pytest.mark.skipif(not IS_ROOT, reason="only root can give root up")
def test_a_new_volume_and_delivered_files_become_the_users_and_root_is_gone(volume):
    key = volume / "key.pem"
    key.write_text("key")
    data = volume / "data"
    data.mkdir()
    kept = data / "kept"
    kept.write_text("")
    script = 'id -u; id -G; echo $HOME; cat "$SKERRY_TLS_KEY"; echo; touch "$SKERRY_DATA/new"'
    script += "; grep -E '^(CapPrm|CapEff|CapBnd|NoNewPrivs)' /proc/self/status"
    _, output = run_entry_point(script, SKERRY_DATA=str(data), SKERRY_TLS_KEY=str(key))
    user, groups, home, content, *rights = output.splitlines()
    assert (user, groups, content) == (str(UID), str(UID), "key")
    assert Path(home).name == "skerry"
    assert [int(line.split()[1], 16) for line in rights] == [0, 0, 0, 1]
    assert (data.stat().st_uid, data.stat().st_gid, (data / "new").stat().st_uid) == (UID,) * 3
    assert key.stat().st_mode & 0o777 == 0o400
    assert kept.stat().st_uid == 0, "what lies in the volume is not walked through"
