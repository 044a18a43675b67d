"""The process of the phones, seen from the test: told what to do, killed, started again."""

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SURVEY = Path(__file__).with_name("survey.py")
ANSWER_SECONDS_MAX = 120
"""Longer than what is asked for takes: settling."""
STOP_SECONDS_MAX = 10


class PhonesProcess:
    """`plan`: pause_s (mean time between two writes of a phone), seed, and phones: name, person,
    token, urls, way (`rounds` or `stream`), is_mortal; paths are filled in.
    """

    def __init__(self, folder, plan):
        self.folder = Path(folder)
        self.history = self.folder / "history.jsonl"
        self._plan = plan
        self._process = None
        self._is_writing = False

    @property
    def pids(self):
        return [] if self._process is None else [self._process.pid]

    def start(self):
        """Start, or start again on the same files."""
        assert self._process is None
        self.folder.mkdir(parents=True, exist_ok=True)
        for phone in self._plan["phones"]:
            phone["path"] = str(self.folder / f"{phone['name']}.db")
        plan = self.folder / "plan.json"
        plan.write_text(json.dumps({**self._plan, "history": str(self.history)}))
        with (self.folder / "phones.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.phones", str(plan)],
                cwd=ROOT,
                env=os.environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self._answer()
        if self._is_writing:
            self.write(is_on=True)

    def kill(self):
        """End the process without another instruction."""
        process = self._process
        assert process is not None
        process.send_signal(signal.SIGKILL)
        process.wait()
        self._close()

    def stop(self, *, is_kind=True):
        """Let the phones close their files; by force when that takes too long, or is to be."""
        if self._process is None:
            return
        if not is_kind:
            self.kill()
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._close()

    def lose(self, names):
        """Take some phones away for ever; the process must be stopped."""
        assert self._process is None
        self._plan["phones"] = [p for p in self._plan["phones"] if p["name"] not in names]

    def write(self, *, is_on):
        self._is_writing = is_on
        self.ask("write", is_on=is_on)

    def aim(self, urls, name=None):
        """Have a phone, or all of them, call other nodes."""
        for phone in self._plan["phones"]:
            if name in {None, phone["name"]}:
                phone["urls"] = urls
        self.ask("aim", urls=urls, name=name)

    def ask(self, what, **arguments):
        """Send a command and return its answer."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what, **arguments}).encode() + b"\n")
        self._process.stdin.flush()
        return self._answer()

    def events(self):
        """Return the history; a line that was cut off by a kill is left out."""
        found = []
        for line in self.history.read_text(encoding="utf-8").splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found

    def _answer(self):
        process = self._process
        assert process is not None
        assert process.stdout is not None
        deadline = time.monotonic() + ANSWER_SECONDS_MAX
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            ready = selector.select(deadline - time.monotonic())
        line = process.stdout.readline() if ready else b""
        if not line:
            log = (self.folder / "phones.log").read_text()[-4_000:]
            raise AssertionError(f"the phones do not answer: {process.poll()}\n{log}")
        return json.loads(line)["ok"]

    def _close(self):
        process, self._process = self._process, None
        assert process is not None
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
