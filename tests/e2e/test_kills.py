"""Killed in the middle of a push, the node and the phone lose nothing and repeat nothing."""

import asyncio
import os
import random
import signal
import subprocess
import sys

import pytest

from skerry_client import Add, Skerry
from tests.e2e.cut_wire import CutWire
from tests.e2e.node_process import ROOT
from tests.e2e.phones import NORTH, phone_of, row_of, settle
from tests.e2e.survey import Note, Site
from tests.e2e.survey import app as survey

NODE_KILLS = [3, pytest.param(12, marks=pytest.mark.slow)]
PHONE_KILLS = 8
CUT_SECONDS_MAX = 15


async def write_some(phone, site, number, count):
    """Make mutations that each add one visit and one note."""
    for step in range(count):
        with phone.transaction() as transaction:
            transaction.edit(Site, site, visits=Add(1))
            transaction.insert(Note, space=NORTH, id=f"{site}-{number}-{step}", text="x" * 50)


@pytest.mark.parametrize("kills", NODE_KILLS)
async def test_a_node_killed_between_commit_and_answer_repeats_nothing(node, tmp_path, kills):
    moments = random.Random(7)
    committed = 0
    made = {"ada": 0, "ben": 0}
    async with CutWire(node.port) as wire:
        ada = phone_of(node, tmp_path, "ada", url=wire.url)
        ben = phone_of(node, tmp_path, "ben")
        for person, phone in (("ada", ada), ("ben", ben)):
            phone.insert(Site, space=NORTH, id=person)
        await settle(ada, ben)
        for kill in range(kills):
            for person, phone in (("ada", ada), ("ben", ben)):
                count = moments.randrange(1, 40)
                await write_some(phone, person, kill, count)
                made[person] += count
            wire.arm(wait_s=None if kill % 2 else moments.uniform(0, 0.03))
            pushes = asyncio.gather(ada.sync(), ben.sync())
            await asyncio.wait_for(wire.was_cut.wait(), CUT_SECONDS_MAX)
            node.kill()
            await pushes
            assert ada.status.pending > 0
            node.start()
            committed += is_ahead(node, ada)
            if kill % 3 == 0:
                await settle(ada, ben)
        await settle(ada, ben)
        assert committed >= kills // 2
        fresh = phone_of(node, tmp_path, "ada", name="fresh")
        await settle(ada, ben, fresh)
        for person, count in made.items():
            assert row_of(fresh, Site, person).visits == count
            assert sum(note.row_id.startswith(f"{person}-") for note in fresh.rows(Note)) == count
    assert not ada.rejected()
    assert not ben.rejected()
    for phone in (ada, ben, fresh):
        await phone.close()
    node.stop()
    node.check()


def is_ahead(node, phone):
    """Tell whether the node has committed mutations whose receipts the phone never got."""
    answer = node.ask("GET", "/v1/rows/site/ada", person="ada", is_admin=False)
    unanswered = sum(entry.outcome == "" for entry in phone.pending())
    return answer.json()["values"]["visits"] > row_of(phone, Site, "ada").visits - unanswered


def run_and_kill(path, url, token, seconds):
    """Run a phone that writes and syncs; return how many visits it called durable."""
    command = [sys.executable, "-m", "tests.e2e.busy_phone", str(path), url, token]
    with subprocess.Popen(command, cwd=ROOT, env=os.environ, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        lines = (first + process.stdout.read()).split(b"\n")
    assert process.returncode == -signal.SIGKILL
    return sum(line == b"durable" for line in lines[:-1])


async def test_a_phone_killed_in_the_middle_of_a_push_loses_and_repeats_nothing(node, tmp_path):
    moments = random.Random(11)
    path = tmp_path / "killed.db"
    durable = 0
    for _ in range(PHONE_KILLS):
        seconds = moments.uniform(0.05, 0.6)
        durable += await asyncio.to_thread(run_and_kill, path, node.url, node.token("ada"), seconds)
    ada = Skerry(path, survey, url=node.url, token=node.token("ada"), background=False)
    ben = phone_of(node, tmp_path, "ben")
    visits = row_of(ada, Site, "busy").visits
    assert durable <= visits <= durable + PHONE_KILLS
    await settle(ada, ben)
    assert row_of(ben, Site, "busy").visits == visits == row_of(ada, Site, "busy").visits
    assert not ada.rejected()
    await ada.close()
    await ben.close()
