"""A real process, killed at random moments: whatever it was told is durable is there afterwards."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from skerry_client import Skerry
from tests.clients.python.links import check
from tests.clients.python.survey import Airfield, Note, database, survey

ROOT = Path(__file__).resolve().parents[3]
KILLS = 12


def run_and_kill(path, seed, seconds):
    """Return the last counter that the program has called durable."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'clients' / 'python'}"}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.clients.python.killed_phone", str(path), str(seed)],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        lines = (first + process.stdout.read()).split(b"\n")
    whole = [int(line) for line in lines[:-1] if line]
    assert process.returncode == -signal.SIGKILL
    return whole[-1]


@pytest.mark.parametrize("syncs", [False, True])
def test_a_kill_at_any_moment_loses_nothing(tmp_path, syncs):
    moments = random.Random(20)
    app = survey()
    for kill in range(KILLS if not syncs else KILLS // 2):
        # With syncs, each life has a file and a server of its own: the server dies with the phone.
        path = database(tmp_path, f"{kill if syncs else 0}.db")
        durable = run_and_kill(path, 2 * kill + syncs, moments.uniform(0.0, 0.12))
        own = check(path, app)
        phone = Skerry(path, app)
        counter = phone.store.counter
        assert counter >= durable
        assert own == list(range(own[0], counter + 1)) if own else syncs
        if not syncs:
            assert own[0] == 1
            notes = len(phone.rows(Note))
            visits = sum(row.visits for row in phone.rows(Airfield))
            assert notes == visits == counter - len(phone.rows(Airfield)) - kill
        phone.edit(Airfield, f"row-{2 * kill + syncs}", name="alive again")
        phone.store.close()
        check(path, app)
