"""A real node: `skerry serve` in a process of its own, to be stopped, killed and started again.

with NodeProcess(data=tmp_path / "node") as node:
    node.set_member("region:north", "ada", "member")
    phone = Skerry(path, app, url=node.url, token=node.token("ada"))
"""

import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import httpx

from core.ids import PersonId, TenantId
from edge.services.tokens import mint
from edge.storage.key_files import KeyFiles

ROOT = Path(__file__).resolve().parents[2]
SURVEY = Path(__file__).with_name("survey.py")
READY_SECONDS_MAX = 30
STOP_SECONDS_MAX = 20
TOKEN_SECONDS = 3_600
TENANT = "main"


class NodeProcess:
    """One node on one data folder; it keeps its port when it is started again."""

    def __init__(self, *, data, module=SURVEY, **settings):
        """`settings` become SKERRY_* variables: stream_send_timeout_s=2."""
        self.data = Path(data)
        self.module = module
        self.settings = settings
        self.port = 0
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *error):
        self.stop()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def database(self):
        """The file of the one tenant."""
        (found,) = (self.data / "tenants").glob(f"{TENANT}*.db")
        return found

    @property
    def log(self):
        return (self.data / "node.log").read_text()

    def start(self):
        """Start, and return once the node is ready."""
        assert self.process is None
        self.data.mkdir(parents=True, exist_ok=True)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SKERRY_")}
        own = {f"SKERRY_{name.upper()}": str(value) for name, value in self.settings.items()}
        command = [sys.executable, "-m", "edge.cli", "serve", str(self.module)]
        command += ["--port", str(self.port), "--data", str(self.data)]
        with (self.data / "node.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env={**kept, **own}, stdout=log, stderr=log
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise

    def stop(self):
        """End the process politely; by force when it takes too long."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def kill(self):
        """End the process without giving it another instruction (SIGKILL)."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process = None

    def limit_file_size(self, size_bytes):
        """Let no file of the node grow beyond this (None: as it likes), as a full disk would."""
        soft = resource.RLIM_INFINITY if size_bytes is None else size_bytes
        limits = (soft, resource.RLIM_INFINITY)
        assert self.process is not None
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, limits)

    def token(self, person, *, is_admin=False):
        return mint(
            KeyFiles(self.data / "keys").development_key(),
            tenant=TenantId(TENANT),
            person=PersonId(person),
            is_admin=is_admin,
            lifetime_s=TOKEN_SECONDS,
            now_unix_s=int(time.time()),
        )

    def ask(self, method, path, *, person="operator", is_admin=True, **arguments):
        """Send one request and return the response, whatever its status."""
        headers = {"authorization": f"Bearer {self.token(person, is_admin=is_admin)}"}
        return httpx.request(
            method, self.url + path, headers=headers, timeout=30, trust_env=False, **arguments
        )

    def set_member(self, space, person, role="member"):
        path = f"/v1/spaces/{space}/members/{person}"
        self.ask("PUT", path, json={"role": role}).raise_for_status()

    def remove_member(self, space, person):
        self.ask("DELETE", f"/v1/spaces/{space}/members/{person}").raise_for_status()

    def check(self):
        """Ask SQLite whether the database is sound; the node must be stopped."""
        assert self.process is None
        with sqlite3.connect(self.database) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()

    def _wait_until_ready(self):
        assert self.process is not None
        deadline = time.monotonic() + READY_SECONDS_MAX
        lock = self.data / "node.lock"
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"the node ended with {self.process.returncode}: {self.log}")
            address = lock.read_text().strip() if lock.exists() else ""
            if address:
                self.port = int(address.rpartition(":")[2])
                try:
                    ready = httpx.get(address + "/health/ready", timeout=5, trust_env=False)
                    if ready.is_success:
                        return
                except httpx.HTTPError:
                    pass
            time.sleep(0.03)
        raise AssertionError(f"the node is not ready after {READY_SECONDS_MAX} s: {self.log}")
