"""Adapters that misbehave: each is found out within a bounded time, and none outlives the kit."""

import asyncio
import os
import sys
from contextlib import suppress

import pytest

from conformance.client import adapter as module
from conformance.client.adapter import Adapter, AdapterError, AdapterGone
from conformance.client.door import check_client

START = """
import json, os, sys, time
def answer(line, **fields):
    print(json.dumps({"id": json.loads(line)["id"], **fields}), flush=True)
line = sys.stdin.readline()
answer(line, result={"protocol": 1, "name": "bad", "capabilities": ["clock"]})
"""
BAD = {
    "ends": "sys.exit(3)",
    "says no JSON": "line = sys.stdin.readline(); print('hello', flush=True); sys.stdin.read()",
    "says another id": "sys.stdin.readline(); answer('{\"id\": 99}', result=1); sys.stdin.read()",
    "raises": "raise SystemError('the last words')",
}


@pytest.fixture
def started(tmp_path):
    def command(body):
        program = tmp_path / "program.py"
        program.write_text(START + body)
        return f"{sys.executable} {program}"

    return command


def is_running(pid):
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


async def gone(adapter, request="clock.pack"):
    await adapter.start()
    process = adapter._process
    with pytest.raises(AdapterGone) as caught:
        await adapter.ask(request)
    assert not adapter.is_running
    assert not is_running(process.pid)
    return str(caught.value)


@pytest.mark.parametrize("name", BAD)
async def test_it_is_found_out(name, started):
    message = await gone(Adapter(started(BAD[name])))
    assert message.startswith("clock.pack: ")
    if name == "raises":
        assert "the last words" in message


async def test_one_that_hangs_is_ended(started, monkeypatch):
    monkeypatch.setattr(module, "ANSWER_SECONDS_MAX", 0.3)
    monkeypatch.setattr(module, "END_SECONDS_MAX", 0.3)
    assert "no answer within" in await gone(Adapter(started("time.sleep(600)")))


async def test_an_error_is_told_by_its_code(started):
    error = {"code": "failed", "message": "no"}
    adapter = Adapter(started(f"answer(sys.stdin.readline(), error={error!r}); sys.stdin.read()"))
    with pytest.raises(AdapterError, match="was answered with the error failed: no"):
        await adapter.ask("clock.pack")
    await adapter.end()


async def test_it_is_started_again_after_it_was_ended(started):
    adapter = Adapter(started("sys.exit(0)"))
    for _ in range(2):  # Whether writing or reading notices first is the machine's choice.
        assert (await gone(adapter)).startswith("clock.pack: ")


def test_one_that_dies_fails_its_cases_and_no_more(started):
    command = started("sys.exit(0)")
    report = asyncio.run(check_client(command, only="c", tell=lambda _line: None))
    outcomes = {result.name: result.outcome for result in report.results}
    assert outcomes["clock/pack"] == outcomes["clock/ticks"] == "failed"
    assert set(outcomes.values()) == {"failed", "skipped"}


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("", "cannot be started"),
        ("there-is-no-such-program", "cannot be started"),
        (f"{sys.executable} -c 'print(1)'", "not an answer to request 1"),
        (
            f'{sys.executable} -c \'print("{{\\"id\\": 1, \\"result\\": {{}}}}")\'',
            "start is answered with protocol 1",
        ),
    ],
)
async def test_what_is_no_adapter_is_said_at_once(command, message):
    adapter = Adapter(command)
    with pytest.raises(AdapterGone, match=message):
        await adapter.start()
    await adapter.end()
    assert not adapter.is_running
