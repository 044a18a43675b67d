"""The process of the phones, seen from the test: told what to do, killed, started again."""

import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.faults.busy_phone import now_ms
from tests.history.history import History

ROOT = Path(__file__).resolve().parents[2]
SURVEY = Path(__file__).with_name("survey.py")
ANSWER_SECONDS_MAX = 120
"""Longer than what is asked for takes: settling."""
STOP_SECONDS_MAX = 10
SHARED_MEMORY = "-shm"
"""SQLite makes it again; an old one beside another log would be believed."""
FILE_ENDS = ("", "-wal", SHARED_MEMORY)


class PhonesProcess:
    """`plan`: pause_s (mean time between two writes of a phone), seed, and phones (see BusyPhone;
    their paths are filled in). `history` is the file of JSON lines they add to; what happens to
    their process is added here.
    """

    def __init__(self, folder, plan, *, history):
        self.folder = Path(folder)
        self.history = Path(history)
        self._plan = plan
        self._tale = History(history, keeps_events=False)
        self._process = None
        self._starts = 0
        self._is_writing = False

    @property
    def pids(self):
        return [] if self._process is None else [self._process.pid]

    @property
    def names(self):
        return [phone["name"] for phone in self._plan["phones"]]

    def __getitem__(self, name):
        return next(phone for phone in self._plan["phones"] if phone["name"] == name)

    def start(self):
        """Start, or start again on the same files."""
        assert self._process is None
        self.folder.mkdir(parents=True, exist_ok=True)
        self._starts += 1
        for phone in self._plan["phones"]:
            phone["path"] = str(self._file(phone["name"]))
            phone["start"] = self._starts
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
        for phone in self._plan["phones"]:
            phone.pop("from", None)
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
        for name in self.names:
            self._tell("killed", name)

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

    # --- while the process is stopped -----------------------------------------------------------

    def lose(self, name):
        """Take a phone away for ever."""
        assert self._process is None
        self._plan["phones"].remove(self[name])
        self._tell("lost", name)

    def back_up(self, name):
        """Keep a phone's file as it is now."""
        self._copy(name, f"{name}-backup")

    def has_backup(self, name):
        return self._file(f"{name}-backup").exists()

    def restore(self, name):
        """Set a phone back to what was kept."""
        self._copy(f"{name}-backup", name)
        self[name]["from"] = "backup"

    def clone(self, name, new_name, urls):
        """Set up another phone with a copy of a phone's file, which calls these nodes."""
        self._copy(name, new_name)
        copy = {**self[name], "name": new_name, "urls": urls, "from": f"clone:{name}"}
        self._plan["phones"].append(copy)

    def _file(self, name):
        return self.folder / f"{name}.db"

    def _copy(self, name, new_name):
        assert self._process is None, "a file that is used is copied in pieces"
        for end in FILE_ENDS:
            source, target = (Path(f"{self._file(n)}{end}") for n in (name, new_name))
            target.unlink(missing_ok=True)
            if source.exists() and end != SHARED_MEMORY:
                shutil.copy(source, target)

    def _tell(self, event, name):
        self._tale.add({"e": event, "t": now_ms(), "p": name})

    # --- while it runs --------------------------------------------------------------------------

    def set_clock(self, name, offset_ms):
        """Let a phone's clock be wrong from now on."""
        self[name]["clock_ms"] = offset_ms
        self.ask("set_clock", name=name, offset_ms=offset_ms)

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
