"""A process that its supervisor starts, restarts and stops, and that ends when the supervisor does.

Invariants
  P1  a child never outlives its supervisor: the kernel sends it SIGTERM when that one is gone
  P2  a child that keeps crashing is started again later and later, and in the end not at all
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

STDERR: Final = 2
"""A child's output goes where the supervisor's own lines go."""
_PR_SET_PDEATHSIG: Final = 1
# Looked up before there are children: between fork and exec nothing may be loaded.
_prctl = getattr(ctypes.CDLL(None), "prctl", None)
_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a child that crashes is tried again (P2).

    The n-th crash within `window_s` delays the next start by delay_s * 2^(n-1), `delay_s_max` at
    most; more than `crashes_max` are too many.
    """

    delay_s: float = 0.1
    delay_s_max: float = 5.0
    crashes_max: int = 10
    window_s: float = 60.0


class ChildProcess:
    """One child, by name: `sqld` or `node`."""

    def __init__(self, name: str, patience: Patience) -> None:
        self.name = name
        self._patience = patience
        self._process: subprocess.Popen[bytes] | None = None
        self._crashes: deque[float] = deque(maxlen=patience.crashes_max + 1)
        self._due_s = 0.0
        self.started_s = 0.0
        """When it was last started, on the monotonic clock."""

    @property
    def pid(self) -> int | None:
        """The process, or None when there is none."""
        return None if self._process is None else self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not been seen to end."""
        return self._process is not None

    @property
    def is_due(self) -> bool:
        """Whether it may be started now."""
        return self._process is None and time.monotonic() >= self._due_s

    @property
    def is_hopeless(self) -> bool:
        """Whether it has crashed too often to be started again (P2)."""
        crashes = self._crashes
        return (
            len(crashes) > self._patience.crashes_max
            and crashes[-1] - crashes[0] <= self._patience.window_s
        )

    def start(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        descriptors: tuple[int, ...] = (),
    ) -> None:
        """Start it; it inherits `descriptors`, and is out of reach of the terminal's Ctrl-C."""
        assert self._process is None, f"{self.name} runs already"
        self.started_s = time.monotonic()
        self._process = subprocess.Popen(  # noqa: S603  (our own programs)
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=STDERR,
            pass_fds=descriptors,
            process_group=0,
            preexec_fn=ending_with(os.getpid()),  # noqa: PLW1509  (the supervisor has one thread)
        )
        _log.info("child-started", child=self.name, pid=self._process.pid)

    def poll(self) -> int | None:
        """Return how it has ended since it was last asked, or None; a signal is negative."""
        code = None if self._process is None else self._process.poll()
        if code is not None:
            self._process = None
        return code

    def crashed(self, **why: object) -> None:
        """Count a crash, and put the next start off (P2)."""
        now = time.monotonic()
        self._crashes.append(now)
        recent = sum(now - at <= self._patience.window_s for at in self._crashes)
        delay_s = min(self._patience.delay_s * 2 ** (recent - 1), self._patience.delay_s_max)
        self._due_s = now + delay_s
        restart_in_s = None if self.is_hopeless else delay_s
        _log.error("child-ended", child=self.name, restart_in_s=restart_in_s, **why)

    def kill(self) -> None:
        """End it without another instruction; its end is seen by `poll`."""
        if self._process is not None:
            self._process.kill()

    def stop(self, *, seconds: float) -> None:
        """End it politely, by force after `seconds`; it is gone when this returns."""
        process, self._process = self._process, None
        self._due_s = 0.0
        if process is None:
            return
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            _log.error("child-killed", child=self.name, pid=process.pid, after_s=seconds)
            process.kill()
            process.wait()


def ending_with(parent: int) -> Callable[[], None]:
    """Return what a child runs before its program so that it ends when `parent` does (P1, Linux).

    The kernel means the thread that started the child: it must be the parent's main thread.
    """

    def ask() -> None:
        if _prctl is not None:
            _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)  # the parent ended in between, and nobody would ever say so

    return ask
