"""One run of a scenario: a fleet, phones under load, moments from a seed, and the check."""

import random
import time
from pathlib import Path

from sync_protocol.digest import ZERO
from tests.faults import checker, database_files
from tests.faults.fleet import AMS, PRIMARY, SYD, FaultFleet
from tests.faults.phones_process import PhonesProcess

PAUSE_S = 0.12
"""Between two writes of one phone: five phones make some forty mutations a second."""
RUN_SECONDS_MAX = 180
"""A tenth of it on an idle machine; a take-over on a busy one takes half a minute."""
SETTLE_SECONDS_MAX = 90
"""Two seconds do where nothing has to time out, fifteen after half-open connections."""
EQUAL_SECONDS_MAX = 20
"""Replicas are level within milliseconds; a busy machine takes longer to look."""
POLL_S = 0.05
PHONES = (
    {"name": "ada-ams", "way": "rounds", "at": (AMS,)},
    {"name": "ben-ams", "way": "stream", "at": (AMS,)},
    {"name": "ben-syd", "way": "rounds", "at": (SYD,)},
    {"name": "ada-syd", "way": "stream", "at": (SYD,)},
    {"name": "ada-far", "way": "rounds", "at": (AMS, SYD, PRIMARY)},
)


class Broken(AssertionError):
    """A run has broken a promise; the message says which, and where everything lies."""


class NotRun(Exception):
    """The run could not be set up: nothing has been tried, and nothing is shown."""


class Run:
    """What a scenario is given; `lost`: phones that never came back, `is_forced`: see checker.

    `template`: see FaultFleet. `seconds` tells what the parts of the run have taken.
    """

    def __init__(self, folder, *, scenario, seed, full_disks=(), template=None):
        self.folder = Path(folder)
        self.scenario = scenario
        self.seed = seed
        self.moments = random.Random(f"{scenario}-{seed}")
        self.fleet = FaultFleet(self.folder, seed=seed, full_disks=full_disks, template=template)
        self.network = self.fleet.network
        self.phones = None
        self.lost = set()
        self.is_forced = False
        self.seconds = {}
        self.statistics = {}
        self._began_s = self._started_s = time.monotonic()
        self._told = []

    def __enter__(self):
        try:
            self.fleet.__enter__()
            self._lap("fleet")
            self._start_phones()
            self._lap("phones")
        except Exception as problem:
            self.__exit__()
            raise NotRun(f"{self.scenario} with seed {self.seed}: {problem}") from problem
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error):
        self._lap("check")
        try:
            if self.phones is not None:
                self.phones.stop(is_kind=False)
        finally:
            self.fleet.__exit__()
            self._lap("stop")

    def _lap(self, part):
        """Note what a part of the run has taken."""
        now_s = time.monotonic()
        self.seconds[part] = round(now_s - self._began_s, 2)
        self._began_s = now_s

    def tell(self, what):
        """Note what is done, and when: a failure shows it."""
        self._told.append(f"{time.monotonic() - self._started_s:6.2f} s  {what}")

    def wait(self, low_s, high_s):
        """Let a random time pass."""
        assert time.monotonic() - self._started_s < RUN_SECONDS_MAX, self.broken(["too slow"])
        time.sleep(self.moments.uniform(low_s, high_s))

    def wait_until(self, is_so, what):
        """Wait for something that is bound to happen."""
        while not is_so():
            self.wait(POLL_S, POLL_S)
            assert time.monotonic() - self._started_s < RUN_SECONDS_MAX, self.broken([what])

    def settle(self):
        """End all faults and the load; wait until nobody has anything left to do, and check."""
        self.tell("settle")
        self._lap("harm")
        self.network.heal()
        fleet, phones = self.fleet, self.phones
        assert phones is not None
        phones.write(is_on=False)
        try:
            fleet.wait_until_ready()
        except Exception as problem:
            raise self.broken([f"R not ready: {problem}"]) from problem
        settled = phones.ask("settle", seconds=SETTLE_SECONDS_MAX)
        self.tell("settled")
        self._lap("settle")
        if not settled["is_quiet"]:
            loud = {n: s for n, s in settled["phones"].items() if s["queued"] or s["message"]}
            raise self.broken([f"Q not quiet: {loud or settled['phones']}", str(fleet.outboxes())])
        found = self._full_outboxes()
        dumps = phones.ask("dump")
        phones.stop(is_kind=False)
        finals = {
            name: checker.Final(dump["sites"], dump["notes"], dump["digests"])
            for name, dump in dumps.items()
        }
        found += checker.complaints(
            phones.events(), finals, lost=self.lost, is_forced=self.is_forced
        )
        found += self._unequal_copies() + self._unequal_digests(finals)
        if found:
            raise self.broken(found)
        return checker.told(phones.events())[0]

    def broken(self, found):
        """Return the failure, with all that somebody needs to look into it."""
        nodes = self.fleet.folder / "nodes"
        again = f"python -m tests.faults --scenario {self.scenario} --seed {self.seed}"
        lines = [f"{self.scenario} with seed {self.seed}: {again}", *found]
        lines += ["What was done:", *self._told]
        lines.append(f"history: {self.folder / 'phones' / 'history.jsonl'}")
        lines += [f"log: {nodes / name / 'node.log'}" for name in self.fleet.names]
        return Broken("\n  ".join(lines))

    def _start_phones(self):
        fleet = self.fleet
        plan = {"seed": self.seed, "pause_s": PAUSE_S, "phones": []}
        for phone in PHONES:
            urls = [fleet.urls[name] for name in phone["at"]]
            token = fleet.token(phone["name"][:3])
            plan["phones"].append({**phone, "urls": urls, "token": token})
        self.phones = phones = PhonesProcess(self.folder / "phones", plan)
        fleet.phones_pids = lambda: phones.pids
        phones.start()
        self._started_s = time.monotonic()
        phones.ask("prepare")
        settled = phones.ask("settle", seconds=SETTLE_SECONDS_MAX)
        if not settled["is_quiet"]:
            raise self.broken([f"Q not quiet before any fault: {settled['phones']}"])
        self._started_s = time.monotonic()
        phones.write(is_on=True)

    def _full_outboxes(self):
        deadline = time.monotonic() + EQUAL_SECONDS_MAX
        while any(self.fleet.outboxes().values()):
            if time.monotonic() > deadline:
                return [f"O outboxes are not empty: {self.fleet.outboxes()}"]
            time.sleep(POLL_S)
        return []

    def _unequal_copies(self):
        deadline = time.monotonic() + EQUAL_SECONDS_MAX
        while True:
            found = []
            for copies in self.fleet.copies():
                contents = {n: database_files.contents(path) for n, path in copies.items()}
                found += database_files.differences(contents)
            if not found or time.monotonic() > deadline:
                return found
            time.sleep(POLL_S)

    def _unequal_digests(self, finals):
        path = next(iter(self.fleet.copies()[0].values()))
        held = {s: d for s, d in database_files.digests(path).items() if d != ZERO.hex()}
        return [
            f"C4 {name} and the server differ in {difference}"
            for name, final in finals.items()
            for difference in checker.differences(held, final.digests)
        ]
