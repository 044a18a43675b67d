"""A real sqld for tests: loopback, free ports, ended by its process id."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Self

from edge.settings import Settings
from edge.workers.fleet_dev import free_ports
from edge.workers.sqld_binary import find_sqld

READY_SECONDS_MAX = 60.0


def free_address() -> str:
    """Return a loopback address that nobody listens on, and that no client's socket gets."""
    (port,) = free_ports(1)
    return f"127.0.0.1:{port}"


class Sqld:
    """One server process: a primary, or a replica of `primary`."""

    def __init__(self, folder: Path, *, primary: str = "") -> None:
        self.folder = folder
        self.http, self.admin, self.grpc = free_address(), free_address(), free_address()
        self._primary = primary
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [str(find_sqld(Settings(), os.environ)), "--no-welcome", "--enable-namespaces"]
        command += ["-d", str(self.folder), "--http-listen-addr", self.http]
        if self._primary:
            command += ["--primary-grpc-url", f"http://{self._primary}"]
        else:
            command += ["--grpc-listen-addr", self.grpc, "--admin-listen-addr", self.admin]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + READY_SECONDS_MAX
        while True:
            try:
                with urllib.request.urlopen(f"http://{self.http}/health", timeout=1):
                    return
            except (OSError, urllib.error.URLError):
                if time.monotonic() > deadline or self._process.poll() is not None:
                    said = self.log.read_text(errors="replace")[-2_000:]
                    raise RuntimeError(f"sqld did not start: {said}") from None
                time.sleep(0.02)

    @property
    def log(self) -> Path:
        return self.folder.parent / f"{self.folder.name}.log"

    def file(self, namespace: str) -> Path:
        return self.folder / "dbs" / namespace / "data"

    def signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()
