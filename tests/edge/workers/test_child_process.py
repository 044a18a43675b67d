"""Children: delays between crashes, when they are too many, and stopping the deaf."""

import signal
import sys
import time

from edge.workers.child_process import ChildProcess, Patience

DEAF = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(sys.argv[1], "w").close()
time.sleep(60)
"""


def test_a_child_that_does_not_hear_is_killed(tmp_path):
    child = ChildProcess("node", Patience())
    child.start([sys.executable, "-S", "-E", "-c", DEAF, str(tmp_path / "deaf")], {})
    process = child._process
    deadline = time.monotonic() + 20
    while not (tmp_path / "deaf").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child.stop(seconds=0.1)
    assert process is not None
    assert process.returncode == -signal.SIGKILL
    assert not child.is_running


def test_delays_double_up_to_their_bound_and_end_in_giving_up(monkeypatch):
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    child = ChildProcess("node", Patience())
    delays = []
    for _ in range(11):
        assert not child.is_hopeless
        child.crashed(code=1)
        delays.append(round(child._due_s - now, 3))
        assert not child.is_due
        now = child._due_s
        assert child.is_due
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5, 5, 5]
    assert child.is_hopeless


def test_crashes_far_apart_never_add_up(monkeypatch):
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    child = ChildProcess("node", Patience())
    for _ in range(50):
        child.crashed(code=1)
        assert round(child._due_s - now, 3) <= 5
        assert not child.is_hopeless
        now += 7
