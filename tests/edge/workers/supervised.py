"""A real supervisor with a real sqld in a process of its own; the node is a stand-in.

with Supervised(tmp_path / "a", role="primary") as node:
    node.sql("t-x", "CREATE TABLE note (text TEXT)")
"""

import base64
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

from edge.cli.failure import CommandError
from edge.errors import EdgeError
from edge.observability import configure_logs
from edge.settings import SettingError, read_settings
from edge.spare_wiring import prepare_spares
from edge.workers.child_process import Patience
from edge.workers.fleet_dev import free_ports
from edge.workers.role_file import RoleFile
from edge.workers.supervise import supervise

ROOT = Path(__file__).parents[3]
STAND_IN = Path(__file__).with_name("stand_in.py")
SECONDS_MAX = 20


class Supervised:
    """One supervisor on one data folder; it keeps its ports when it is started again."""

    def __init__(self, data, *, crashes_max=10, **settings):
        self.data = data
        data.mkdir(exist_ok=True)
        ports = dict(zip(("http", "admin", "grpc"), free_ports(3), strict=True))
        self.http, self.admin, self.grpc = (f"127.0.0.1:{port}" for port in ports.values())
        own = {"data": data, "drain_s": 1, **settings}
        own |= {"sqld_http": self.http, "sqld_admin": self.admin, "sqld_grpc": self.grpc}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SKERRY_")}
        self.environment = {
            **kept,
            **{f"SKERRY_{name.upper()}": str(value) for name, value in own.items()},
            "CRASHES_MAX": str(crashes_max),
        }
        self.process = None

    def __enter__(self):
        self.start()
        self.wait_for(lambda: self.pids()["node"] and self.events())
        return self

    def __exit__(self, *error):
        if self.is_running:
            self.stop()

    @property
    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def start(self):
        with (self.data / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.edge.workers.supervised"],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
            )

    def stop(self):
        """Ask it to stop and return its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.wait()

    def wait(self, seconds=SECONDS_MAX):
        assert self.process is not None
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"it does not end: {self.log}") from None

    def kill(self):
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    @property
    def log(self):
        return (self.data / "log").read_text()

    def pids(self):
        """The processes that the supervisor says there are."""
        assert self.process is not None
        path = self.data / "processes.json"
        none = {"supervisor": None, "sqld": None, "node": None}
        found = json.loads(path.read_bytes()) if path.exists() else none
        return found if found["supervisor"] == self.process.pid else none

    def events(self):
        path = self.data / "events"
        return path.read_text().splitlines() if path.exists() else []

    def wait_for(self, condition):
        deadline = time.monotonic() + SECONDS_MAX
        while not (found := condition()):
            assert time.monotonic() < deadline, f"{self.events()}\n{self.log}"
            assert self.is_running, self.log
            time.sleep(0.02)
        return found

    def change_role(self, role):
        """Do what a node does that is told another role."""
        RoleFile(self.data).write(role)
        count = len(self.events())
        (self.data / "exit").write_text("75")
        self.wait_for(lambda: self.events()[count:] and self.pids()["node"])

    def make_namespace(self, name):
        url = f"http://{self.admin}/v1/namespaces/{name}/create"
        httpx.post(url, json={}, timeout=5, trust_env=False).raise_for_status()

    def sql(self, namespace, statement, *, seconds=5):
        """Run one statement on its sqld and return the rows, or raise ValueError."""
        answer = httpx.post(
            f"http://{self.http}/v2/pipeline",
            headers={"x-namespace-bin": base64.b64encode(namespace.encode()).decode()},
            json={"requests": [{"type": "execute", "stmt": {"sql": statement}}]},
            timeout=seconds,
            trust_env=False,
        )
        (result,) = answer.raise_for_status().json()["results"]
        if result["type"] != "ok":
            raise ValueError(result)
        rows = result["response"]["result"]["rows"]
        return [tuple(value.get("value") for value in row) for row in rows]


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def main():
    settings = read_settings(os.environ)
    configure_logs(settings.log_level)
    patience = Patience(delay_s=0.01, delay_s_max=0.05, crashes_max=int(os.environ["CRASHES_MAX"]))
    # A test that fails must leave nothing behind.
    signal.alarm(90)
    try:
        command = [sys.executable, "-S", "-E", str(STAND_IN)]
        supervise(
            STAND_IN,
            settings,
            prepare=prepare_spares,
            node_command=command,
            patience=patience,
        )
    except (SettingError, CommandError) as error:
        sys.exit(f"used wrongly: {error}")
    except EdgeError as error:
        sys.exit(f"failed: {error.message}")


if __name__ == "__main__":
    main()
