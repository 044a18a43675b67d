"""The supervisor of a fleet's node: it runs no event loop, and owns sqld and the node itself.

Invariants
  S1  one supervisor per data folder, and never two sqld on one: each holds a lock, sqld inherits
      the lock that was taken for it
  S2  the node starts after its sqld answers, and is drained before its sqld stops
  S3  one child's crash restarts that child alone
  S4  a new role starts after both children of the old one have ended, also when the node was
      killed before it could say that it has written one: its sqld would follow the old primary
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections import deque
from dataclasses import fields
from typing import TYPE_CHECKING, Final

import structlog

from core.fleet import Role
from edge.errors import Unavailable
from edge.settings import ENVIRONMENT_PREFIX, SettingError
from edge.workers.child_process import ChildProcess, Patience
from edge.workers.lock_file import LockFile
from edge.workers.role_file import EXIT_ROLE_CHANGED, read_role
from edge.workers.role_folder import take_up
from edge.workers.serve_lock import DataLock
from edge.workers.sqld import is_healthy, listen_addresses, resolved, sqld_command, taken
from edge.workers.sqld_binary import find_sqld

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from edge.settings import Settings
    from edge.workers.role_file import NodeRole

SUPERVISED: Final = "SKERRY_SUPERVISED"
"""Set to 1 for the node: it serves, and starts no supervisor of its own."""
EPOCH: Final = "SKERRY_EPOCH"
PROCESSES: Final = "processes.json"
"""Which processes belong to a folder: `supervisor`, `sqld` and `node`, null while there is none."""
SQLD_READY_SECONDS_MAX: Final = 30
"""It answers after 50 ms, and later when it repairs its log after a crash."""
SQLD_STOP_SECONDS_MAX: Final = 10
"""Beyond the 5 s that sqld gives itself."""
ORPHAN_S: Final = 20
"""An orphan drains while its sqld is gone: a commit it has under way waits for that in vain."""
KILL_AFTER_S: Final = 5
"""What the node gets beyond its drain time before it is killed."""
ROLE_CHANGES_MAX: Final = 10
ROLE_CHANGES_WINDOW_S: Final = 60.0
"""A node that changes its role faster is at odds with its fleet, and is better looked at."""
POLL_S: Final = 0.05
_log = structlog.stdlib.get_logger(__name__)


def supervise(
    module: Path,
    settings: Settings,
    *,
    prepare: Callable[[Settings, NodeRole], None],
    node_command: Sequence[str] | None = None,
    patience: Patience | None = None,
) -> None:
    """Run sqld and the node until SIGTERM or SIGINT; both are restarted when they crash.

    `prepare` is called before they start in a role, while nobody uses the databases; the role's
    folder is as the last one left it then.

    Raises SettingError for settings that cannot work, and Unavailable when a child keeps crashing
    or the folder is in use.
    """
    command = node_command or (sys.executable, "-m", "edge.cli", "serve", str(module.resolve()))
    lock = LockFile(settings.data / "supervisor.lock")
    if not lock.take():
        raise Unavailable(f"Another supervisor runs on {settings.data}.")
    try:
        _Supervisor(settings, command, prepare, patience or Patience()).run()
    finally:
        lock.release()


def node_environment(
    settings: Settings, role: NodeRole, inherited: Mapping[str, str]
) -> dict[str, str]:
    """Return the variables of the node: every setting as it is in force, and the role."""
    own = {
        ENVIRONMENT_PREFIX + field.name.upper(): _as_text(getattr(settings, field.name))
        for field in fields(settings)
        if getattr(settings, field.name) is not None
    }
    return {
        **inherited,
        **own,
        "SKERRY_ROLE": role.role.value,
        "SKERRY_PRIMARY_URL": role.primary_url,
        "SKERRY_PRIMARY_GRPC_URL": role.primary_grpc_url,
        EPOCH: str(role.epoch),
        SUPERVISED: "1",
    }


class _Supervisor:
    """Starts, restarts and stops the two children, role after role."""

    def __init__(
        self,
        settings: Settings,
        command: Sequence[str],
        prepare: Callable[[Settings, NodeRole], None],
        patience: Patience,
    ) -> None:
        self._settings = settings
        self._prepare = prepare
        self._command = command
        self._binary = find_sqld(settings, os.environ)
        self._sqld_lock = LockFile(settings.data / "sqld.lock")
        self._sqld = ChildProcess("sqld", patience)
        self._node = ChildProcess("node", patience)
        self._role_changes: deque[float] = deque(maxlen=ROLE_CHANGES_MAX)
        self._is_sqld_ready = False
        self._is_stopping = False

    def run(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        try:
            while not self._is_stopping:
                self._serve_role()
        finally:
            self._stop_children()

    def _stop(self, _number: int, _frame: object) -> None:
        self._is_stopping = True

    def _serve_role(self) -> None:
        """Run both children in the role of the moment, until it changes or all is to stop."""
        self._wait_for_orphans()
        if self._is_stopping:
            return
        role = read_role(self._settings)
        if role.role is Role.STANDALONE:
            raise SettingError("role: a node that is supervised is a primary or an edge")
        arguments = sqld_command(self._settings, role, binary=self._binary)
        self._prepare(self._settings, role)
        aside = take_up(self._settings.data, role, now_ms=time.time_ns() // 1_000_000)
        if aside is not None:
            _log.warning("databases-set-aside", folder=str(aside))
        _log.info("role", role=role.role.value, epoch=role.epoch, primary=role.primary_url)
        while not self._is_stopping and self._step(role, arguments):
            time.sleep(POLL_S)
        self._stop_children()

    def _step(self, role: NodeRole, arguments: Sequence[str]) -> bool:
        """See who has ended, start who is due; False once the node has changed its role."""
        code = self._sqld.poll()
        if code is not None:
            self._sqld.crashed(code=code)
        code = self._node.poll()
        if code == EXIT_ROLE_CHANGED or (code is not None and read_role(self._settings) != role):
            self._count_role_change()
            return False
        if code is not None:
            self._node.crashed(code=code)
        for child in (self._sqld, self._node):
            if child.is_hopeless:
                raise Unavailable(f"{child.name} keeps crashing; the log says how.")
        if self._sqld.is_due:
            self._start_sqld(role, arguments)
        if self._sqld.is_running and not self._is_sqld_ready:
            self._look_at_sqld()
        if self._is_sqld_ready and self._node.is_due:
            self._node.start(self._command, node_environment(self._settings, role, os.environ))
            self._publish()
        return True

    def _start_sqld(self, role: NodeRole, arguments: Sequence[str]) -> None:
        self._is_sqld_ready = False
        address = taken(listen_addresses(self._settings, role))
        if address is not None:
            # Its /health would pass for ours.
            self._sqld.crashed(why=f"another process listens on {address}")
        elif not self._sqld_lock.take():
            self._sqld.crashed(why="another sqld runs on the folder")
        else:
            self._sqld.start(
                arguments, _sqld_environment(), descriptors=(self._sqld_lock.descriptor,)
            )
            self._sqld_lock.release()
            self._publish()

    def _look_at_sqld(self) -> None:
        if is_healthy(resolved("sqld_http", self._settings.sqld_http)):
            self._is_sqld_ready = True
            _log.info("sqld-ready", after_s=round(time.monotonic() - self._sqld.started_s, 3))
        elif time.monotonic() - self._sqld.started_s > SQLD_READY_SECONDS_MAX:
            _log.error("sqld-silent", after_s=SQLD_READY_SECONDS_MAX)
            self._sqld.kill()

    def _wait_for_orphans(self) -> None:
        """Wait for children of a supervisor that was killed: they have been told to end (P1)."""
        data_lock = DataLock(self._settings.data)
        deadline = time.monotonic() + self._settings.drain_s + KILL_AFTER_S + ORPHAN_S
        waits_for = ""
        while not self._is_stopping:
            is_sqld_gone = self._sqld_lock.is_free()
            if is_sqld_gone and data_lock.take():
                data_lock.release()
                return
            who = "node" if is_sqld_gone else "sqld"
            if time.monotonic() > deadline:
                raise Unavailable(f"Another {who} uses {self._settings.data}.")
            if who != waits_for:
                waits_for = who
                _log.warning("waiting-for-orphan", child=who)
            time.sleep(POLL_S)

    def _stop_children(self) -> None:
        """Let the node drain while its sqld still serves it (S2)."""
        self._node.stop(seconds=self._settings.drain_s + KILL_AFTER_S)
        self._sqld.stop(seconds=SQLD_STOP_SECONDS_MAX)
        self._is_sqld_ready = False
        self._publish()

    def _count_role_change(self) -> None:
        now = time.monotonic()
        changes = self._role_changes
        if len(changes) == ROLE_CHANGES_MAX and now - changes[0] <= ROLE_CHANGES_WINDOW_S:
            raise Unavailable("The node keeps changing its role; the log says how.")
        changes.append(now)

    def _publish(self) -> None:
        """Write which processes there are; a file that is not written only tells less."""
        pids = {"supervisor": os.getpid(), "sqld": self._sqld.pid, "node": self._node.pid}
        path = self._settings.data / PROCESSES
        draft = path.with_suffix(".new")
        try:
            draft.write_text(json.dumps(pids))
            draft.replace(path)
        except OSError as error:
            _log.warning("processes-not-published", reason=error.strerror)


def _sqld_environment() -> dict[str, str]:
    """Return sqld's variables: only ours decide what it does, and it logs what is wrong."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith((ENVIRONMENT_PREFIX, "SQLD_", "LIBSQL_"))
    }
    return {"RUST_LOG": "warn", "NO_COLOR": "1", **kept}


def _as_text(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    return str(value)
