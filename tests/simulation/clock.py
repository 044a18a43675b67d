"""Virtual time and seeded entropy, in place of the machine's, while a simulation runs.

The product reads the time with `time.*` and draws random bytes with `os.urandom`. Importing this
module replaces those functions by ones that ask the running simulation, and the real thing when
there is none. It must be imported before the product is, because the product keeps references.
"""

import os
import random
import time
from contextvars import ContextVar
from typing import Any

EPOCH_MS = 1_767_225_600_000
"""2026-01-01: when every simulation begins."""
PROCESS: ContextVar[Any] = ContextVar("process", default=None)
"""The simulated process that runs at the moment."""

real_monotonic = time.monotonic
real_urandom = os.urandom
_real = {
    name: getattr(time, name)
    for name in ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns")
}


class VirtualTime:
    """Microseconds since the simulation began; only the loop moves them."""

    def __init__(self):
        self.now_us = 0

    @property
    def now_ms(self):
        return self.now_us // 1_000


_running = []


def running():
    """Return the virtual time of the running simulation, or None."""
    return _running[-1] if _running else None


def start(virtual):
    """Let the product live in this virtual time; its entropy is the running process's own."""
    _running.append(virtual)


def stop():
    """Give the machine's time and entropy back."""
    _running.pop()


def wall_us():
    """Return the wall clock as the running process sees it, in Unix microseconds."""
    process = PROCESS.get()
    offset_us = 0
    if process is not None:
        machine = process.machine
        offset_us = machine.clock_offset_us + machine.world.wall_jump_ms * 1_000
    return max(0, EPOCH_MS * 1_000 + _running[-1].now_us + offset_us)


def _time():
    return wall_us() / 1_000_000 if _running else _real["time"]()


def _time_ns():
    return wall_us() * 1_000 if _running else _real["time_ns"]()


def _monotonic():
    return _running[-1].now_us / 1_000_000 if _running else _real["monotonic"]()


def _monotonic_ns():
    return _running[-1].now_us * 1_000 if _running else _real["monotonic_ns"]()


def _urandom(size):
    if not _running:
        return real_urandom(size)
    process = PROCESS.get()
    assert process is not None, "somebody outside every process draws random bytes"
    return process.machine.entropy.randbytes(size)


time.time, time.time_ns = _time, _time_ns
time.monotonic = time.perf_counter = _monotonic
time.monotonic_ns = time.perf_counter_ns = _monotonic_ns
os.urandom = _urandom
setattr(random, "_urandom", _urandom)  # noqa: B010  (what SystemRandom draws from)
