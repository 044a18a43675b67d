"""Many runs, some at a time: who runs what, on whose ports, and for how long at most.

Every lane has a template of its own, and runs one after the other, each in a process of its own.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import time
from collections import deque
from pathlib import Path

from edge.workers.child_process import ending_with
from tests.faults.one_run import FAILED, NOT_RUN, PASSED
from tests.faults.report import ROOT
from tests.faults.template import drop_template, taken_port

RUN_SECONDS_MAX = 600
"""Of a run in all; its parts have limits of their own, and their sum is less."""
END_SECONDS_MAX = 20
TRIES_MAX = 2
"""How often a run that could not be set up is tried."""
OUTPUT_BYTES_SHOWN = 4_000


def planned(scenarios, *, runs, seed):
    """Return (scenario, seed) of so many runs: each scenario in turn, then with the next seed."""
    return [
        (scenarios[index % len(scenarios)], seed + index // len(scenarios)) for index in range(runs)
    ]


class Campaign:
    """Runs a plan; `tell(run, result, seconds)` hears of each run when it is over."""

    def __init__(self, folder, *, jobs, tell):
        self._folder = Path(folder)
        self._jobs = jobs
        self._tell = tell
        self._waiting = deque()

    async def run(self, runs):
        """Do all of them."""
        self._waiting.extend(runs)
        lanes = min(self._jobs, len(self._waiting))
        async with asyncio.TaskGroup() as group:
            for number in range(lanes):
                group.create_task(self._work(self._folder / f"template-{number + 1}"))

    async def _work(self, template):
        try:
            while self._waiting:
                run = self._waiting.popleft()
                started_s = time.monotonic()
                result = await self._tried(run, template)
                if result["verdict"] != FAILED:
                    shutil.rmtree(result["folder"], ignore_errors=True)
                self._tell(run, result, time.monotonic() - started_s)
        finally:
            drop_template(template)

    async def _tried(self, run, template):
        """Do one run, again when it could not be set up: another program may have the ports."""
        scenario, seed = run
        folder = self._folder / f"{scenario}-{seed}"
        result = {}
        for _ in range(TRIES_MAX):
            shutil.rmtree(folder, ignore_errors=True)
            problem = await self._prepared(template)
            if problem:
                result = {"verdict": NOT_RUN, "problem": problem}
            else:
                plan = {"scenario": scenario, "seed": seed, "folder": str(folder)}
                result = await self._done({**plan, "template": str(template)}, folder)
            if result["verdict"] != NOT_RUN:
                break
            drop_template(template)
        return {**result, "folder": folder}

    async def _prepared(self, template):
        """Have a template whose ports are free; return what is in the way."""
        if template.exists() and taken_port(template) is not None:
            drop_template(template)
        if template.exists():
            return ""
        try:
            await self._program(
                "tests.faults.template", str(template), log=template.with_suffix(".log")
            )
        except ProcessFailed as problem:
            drop_template(template)
            return f"no template: {problem}"
        return ""

    async def _done(self, plan, folder):
        plan_file, result = folder.with_suffix(".plan"), folder.with_suffix(".result")
        result.unlink(missing_ok=True)
        plan_file.write_text(json.dumps({**plan, "result": str(result)}))
        log = folder.with_suffix(".log")
        try:
            await self._program("tests.faults.one_run", str(plan_file), log=log)
            return json.loads(result.read_bytes())
        except ProcessFailed as problem:
            return {"verdict": FAILED, "problem": str(problem)}
        finally:
            for path in (plan_file, result, log):
                path.unlink(missing_ok=True)

    async def _program(self, module, *arguments, log):
        """Run a module of ours to its end; raises ProcessFailed."""
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", module, *arguments,
                cwd=ROOT,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=ending_with(os.getpid()),
            )  # fmt: skip
        why = "it has ended"
        try:
            async with asyncio.timeout(RUN_SECONDS_MAX):
                await process.wait()
        except TimeoutError:
            why = f"it has not ended within {RUN_SECONDS_MAX} s"
        finally:
            await _ended(process)
        if process.returncode:
            shown = log.read_bytes()[-OUTPUT_BYTES_SHOWN:].decode(errors="replace")
            raise ProcessFailed(f"{why} with {process.returncode}:\n{shown}")


class ProcessFailed(Exception):
    """A program of ours has not come to a good end."""


async def _ended(process):
    """End a program if it runs still; what it has started ends with it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS_MAX):
                await process.wait()


def exit_code(verdicts):
    """Return 0 when all have passed, 1 when one has failed, 2 when one could not be run."""
    found = set(verdicts)
    if FAILED in found:
        return 1
    return 2 if found - {PASSED} else 0
