"""One node of a fleet on one machine: a supervisor in a process of its own, and how to hurt it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Any, Final, cast

from edge.errors import Unavailable
from edge.workers.child_process import ending_with
from edge.workers.supervise import PROCESSES, SUPERVISED

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PRIMARY: Final = "primary"
LOOPBACK: Final = "127.0.0.1"
READY_SECONDS_MAX: Final = 60
"""A node starts within two seconds on an idle machine."""
STOP_SECONDS_MAX: Final = 40
"""More than a node's drain time and what its supervisor adds."""
COMMAND_SECONDS_MAX: Final = 60
LOG_BYTES_SHOWN: Final = 2_000
ASK_SECONDS_MAX: Final = 2
_POLL_S: Final = 0.05


class DevNode:
    """One node of the fleet; it keeps its ports and its folder when it is started again."""

    def __init__(
        self,
        name: str,
        region: str,
        data: Path,
        *,
        module: Path,
        ports: Mapping[str, int],
        settings: Mapping[str, str],
        ends_with_parent: bool,
    ) -> None:
        self.name = name
        self.region = region
        self.data = data
        self.url = f"http://{LOOPBACK}:{ports['port']}"
        self.internal_url = f"http://{LOOPBACK}:{ports['internal_port']}"
        self.grpc_url = f"http://{LOOPBACK}:{ports['sqld_grpc']}"
        self._port = ports["port"]
        self._module = module.resolve()
        self._ends_with_parent = ends_with_parent
        self._process: subprocess.Popen[bytes] | None = None
        self._said = ""
        own = {
            "role": "primary" if name == PRIMARY else "edge",
            "node": name,
            "region": region,
            "data": str(data),
            "host": LOOPBACK,
            "port": str(ports["port"]),
            "url": self.internal_url,
            "internal_host": LOOPBACK,
            "internal_port": str(ports["internal_port"]),
            "grpc_url": self.grpc_url,
            **{n: f"{LOOPBACK}:{ports[n]}" for n in ("sqld_http", "sqld_admin", "sqld_grpc")},
            "tls_ca": "",
            "tls_cert": "",
            "tls_key": "",
            **settings,
        }
        inherited = {name: value for name, value in os.environ.items() if name != SUPERVISED}
        self.environment = {**inherited, **{f"SKERRY_{n.upper()}": v for n, v in own.items()}}

    @property
    def pid(self) -> int | None:
        """The supervisor's process, or None while the node is stopped."""
        return None if self._process is None else self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the supervisor runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def has_joined(self) -> bool:
        """Whether the node has been told its role in the fleet."""
        return (self.data / "node.json").exists()

    def sqld_pid(self) -> int | None:
        """Return the process of its sqld, or None while there is none."""
        return self._process_of("sqld")

    def node_pid(self) -> int | None:
        """Return the process of the node itself, or None while there is none."""
        return self._process_of("node")

    def log_tail(self) -> str:
        """Return the last lines of what the node and its sqld have logged."""
        try:
            return (self.data / "node.log").read_bytes()[-LOG_BYTES_SHOWN:].decode(errors="replace")
        except FileNotFoundError:
            return ""

    def start(self) -> None:
        """Start the supervisor and return at once."""
        assert not self.is_running, f"{self.name} runs already"
        self.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        # The death signal would come when the starting thread ends, so it is for main threads only.
        preexec = ending_with(os.getpid()) if self._ends_with_parent else None
        with (self.data / "node.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  (our own program)
                [sys.executable, "-m", "edge.cli", "serve", str(self._module)],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
                preexec_fn=preexec,  # noqa: PLW1509  (given in the main thread alone)
            )

    def wait_until_ready(self, *, seconds: float = READY_SECONDS_MAX) -> None:
        """Wait until the node serves; raise Unavailable with its last log lines otherwise."""
        deadline = time.monotonic() + seconds
        while not self._is_ready():
            if not self.is_running:
                raise Unavailable(f"{self.name} has ended. Its log:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"{self.name} is not ready after {seconds} s: {self._said or 'no answer'}\n"
                    f"Its log:\n{self.log_tail()}"
                )
            time.sleep(_POLL_S)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send the supervisor a signal; after SIGKILL its children end by themselves."""
        assert self._process is not None, f"{self.name} does not run"
        self._process.send_signal(number)
        if number == signal.SIGKILL:
            self._process.wait()
            self._process = None

    def ask_to_stop(self) -> None:
        """Tell the node to drain, and do not wait."""
        if self.is_running:
            self.kill(signal.SIGTERM)

    def stop(self) -> int | None:
        """Let the node drain and stop, by force when it takes too long; returns its exit code."""
        process, self._process = self._process, None
        if process is None:
            return None
        if process.poll() is None:
            process.terminate()
        try:
            return process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def restart(self) -> None:
        """Stop the node if it runs, start it and wait until it serves."""
        self.stop()
        self.start()
        self.wait_until_ready()

    def run(self, *arguments: str) -> str:
        """Run a `skerry` command with this node's settings and return what it prints.

        Raises Unavailable with its complaint when it fails or takes too long.
        """
        command = [sys.executable, "-m", "edge.cli", *arguments]
        try:
            done = subprocess.run(  # noqa: S603  (our own program)
                command,
                env=self.environment,
                capture_output=True,
                text=True,
                timeout=COMMAND_SECONDS_MAX,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            # The words after the second are values, and one of them may be a token.
            what = " ".join(arguments[:2])
            raise Unavailable(f"skerry {what} on {self.name} takes too long.") from error
        if done.returncode != 0:
            what = " ".join(arguments[:2])
            complaint = done.stderr[-LOG_BYTES_SHOWN:].strip()
            raise Unavailable(f"skerry {what} on {self.name} has failed: {complaint}")
        return done.stdout

    def _is_ready(self) -> bool:
        # Asked many times a second: an httpx client would cost more than the answer does.
        connection = HTTPConnection(LOOPBACK, self._port, timeout=ASK_SECONDS_MAX)
        try:
            connection.request("GET", "/health/ready")
            answer = connection.getresponse()
            self._said = answer.read(LOG_BYTES_SHOWN).decode(errors="replace")
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()
        return answer.status == HTTPStatus.OK

    def _process_of(self, name: str) -> int | None:
        try:
            pids = cast("dict[str, Any]", json.loads((self.data / PROCESSES).read_bytes()))
        except FileNotFoundError:
            return None
        return pids[name] if pids["supervisor"] == self.pid else None
