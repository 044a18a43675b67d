"""Several processes on one socket: worker 0 writes, the others read and forward writes to it.

The parent binds the socket, holds the folder's lock, forks, restarts what crashes and passes
SIGTERM on. It runs no event loop and serves nothing, so that it does not fail with its children.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog

from edge.workers.serve import BACKLOG, address_of, drained, listening_socket, make_server
from edge.workers.serve_lock import DataLock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge.settings import Settings

WRITER_SOCKET: Final = "writer.sock"
WRITER: Final = 0
RESTART_DELAY_S: Final = 0.5
RESTART_DELAY_S_MAX: Final = 30.0
STEADY_S: Final = 60.0
"""A worker that has run this long is restarted at once; a faster crash doubles the delay."""
KILL_AFTER_S: Final = 5
"""What a worker gets beyond its drain time before it is killed."""
_PR_SET_PDEATHSIG: Final = 1
_log = structlog.stdlib.get_logger(__name__)


@dataclass(slots=True)
class _Worker:
    """One child: its process (0: none), when it started, and when it may start again."""

    index: int
    pid: int = 0
    started_s: float = 0.0
    delay_s: float = RESTART_DELAY_S
    due_s: float = 0.0


def serve_many(
    build: Callable[[int], Any], settings: Settings, *, prepare: Callable[[], None]
) -> None:
    """Serve with `settings.workers` processes; `build(index)` makes each one's application.

    `prepare` is called once, under the folder's lock, before there are any workers.
    """
    with DataLock(settings.data) as lock, listening_socket(settings) as listener:
        prepare()
        lock.publish(address_of(listener))
        _log.info("listening", url=address_of(listener), workers=settings.workers)
        _Supervisor(build, settings, listener).run()


class _Supervisor:
    """Starts, restarts and stops the workers."""

    def __init__(
        self, build: Callable[[int], Any], settings: Settings, listener: socket.socket
    ) -> None:
        self._build = build
        self._settings = settings
        self._listener = listener
        self._workers = [_Worker(index) for index in range(settings.workers)]
        self._is_stopping = False

    def run(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        while not self._is_stopping:
            for worker in self._workers:
                if not worker.pid and time.monotonic() >= worker.due_s:
                    self._start(worker)
            self._reap()
            time.sleep(0.05)
        self._drain()

    def _stop(self, _number: int, _frame: object) -> None:
        self._is_stopping = True

    def _start(self, worker: _Worker) -> None:
        parent = os.getpid()
        worker.started_s = time.monotonic()
        worker.pid = os.fork()
        if worker.pid:
            return
        code = 1
        try:
            _die_with(parent)
            self._serve(worker.index)
            code = 0
        except BaseException:  # noqa: BLE001  (a fork never returns into its parent's code)
            _log.exception("worker-failed", worker=worker.index)
        finally:
            sys.stderr.flush()
            os._exit(code)

    def _serve(self, index: int) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, drained)
        sockets = [self._listener]
        if index == WRITER:
            sockets.append(_unix_socket(self._settings.data / WRITER_SOCKET))
        server = make_server(self._build(index), self._settings)
        server.run(sockets=sockets)
        if not server.started:
            raise RuntimeError("the server did not start")

    def _reap(self) -> None:
        for worker in self._workers:
            if not worker.pid or os.waitpid(worker.pid, os.WNOHANG)[0] == 0:
                continue
            now = time.monotonic()
            is_steady = now - worker.started_s >= STEADY_S
            worker.delay_s = (
                RESTART_DELAY_S if is_steady else min(worker.delay_s * 2, RESTART_DELAY_S_MAX)
            )
            worker.due_s = now + worker.delay_s
            _log.error("worker-ended", worker=worker.index, restart_in_s=worker.delay_s)
            worker.pid = 0

    def _drain(self) -> None:
        """Stop the readers before the writer, which they still need."""
        readers = [w for w in self._workers if w.index != WRITER]
        for group in (readers, [self._workers[WRITER]]):
            for worker in group:
                _signal(worker, signal.SIGTERM)
            deadline = time.monotonic() + self._settings.drain_s + KILL_AFTER_S
            for worker in group:
                while worker.pid and os.waitpid(worker.pid, os.WNOHANG)[0] == 0:
                    if time.monotonic() > deadline:
                        _signal(worker, signal.SIGKILL)
                    time.sleep(0.02)
                worker.pid = 0


def _signal(worker: _Worker, number: signal.Signals) -> None:
    if worker.pid:
        os.kill(worker.pid, number)


def _unix_socket(path: Path) -> socket.socket:
    """Listen on a socket file that only this user may open, from its first moment on."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(mask)
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def _die_with(parent: int) -> None:
    """Ask the kernel (Linux) to end this process when the parent ends without a word."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)
