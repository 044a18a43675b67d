"""One run of a scenario: a fleet, phones under load, moments from a seed, and the check."""

import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

from tests.faults import ending
from tests.faults.busy_phone import now_ms
from tests.faults.fleet import AMS, PRIMARY, SYD, FaultFleet
from tests.faults.phones_process import PhonesProcess
from tests.faults.survey import app
from tests.history.declaration import tell_app
from tests.history.history import History, read

PAUSE_S = 0.12
"""Between two writes of one phone: five phones make some forty mutations a second."""
RUN_SECONDS_MAX = 180
"""A tenth of it on an idle machine; a take-over on a busy one takes half a minute."""
SETTLE_SECONDS_MAX = 90
"""Two seconds do where nothing has to time out, fifteen after half-open connections."""
POLL_S = 0.05
PHONES = (
    {"name": "ada-ams", "way": "rounds", "at": (AMS,)},
    {"name": "ben-ams", "way": "stream", "at": (AMS,)},
    {"name": "ben-syd", "way": "rounds", "at": (SYD,)},
    {"name": "cid-syd", "way": "stream", "at": (SYD,)},
    {"name": "ada-far", "way": "rounds", "at": (AMS, SYD, PRIMARY)},
)


SET_BACK = {"what": "promote-force"}
"""What the checker calls the moment from which outcomes may be others."""


class Broken(AssertionError):
    """A run has broken a promise; the message says which, and where everything lies."""


class NotRun(Exception):
    """The run could not be set up: nothing has been tried, and nothing is shown."""


class Run:
    """What a scenario is given. `template`: see FaultFleet.

    `seconds` tells what the parts of the run have taken, `statistics` what has happened in it.
    """

    def __init__(self, folder, *, scenario, seed, full_disks=(), template=None):
        self.folder = Path(folder)
        self.scenario = scenario
        self.seed = seed
        self.moments = random.Random(f"{scenario}-{seed}")
        self.fleet = FaultFleet(self.folder, seed=seed, full_disks=full_disks, template=template)
        self.network = self.fleet.network
        self.phones = None
        self.seconds = {}
        self.done = Counter()
        """What was done to the fleet and the phones, by how often."""
        self.killed = Counter()
        self.statistics: dict[str, Any] = {}
        self.history = self.folder / "history.jsonl"
        self._began_s = self._started_s = time.monotonic()
        self._told = []
        self.folder.mkdir(parents=True, exist_ok=True)
        self.tale = History(self.history, keeps_events=False)

    def __enter__(self):
        try:
            self.fleet.__enter__()
            self._lap("fleet")
            tell_app(self.tale, app, now_ms=now_ms())
            for member in self.fleet.members():
                self.add("member", **member)
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
            self.tale.close()

    def _lap(self, part):
        """Note what a part of the run has taken."""
        now_s = time.monotonic()
        self.seconds[part] = round(now_s - self._began_s, 2)
        self._began_s = now_s

    def tell(self, what):
        """Note what is done, and when: a failure shows it."""
        self._told.append(f"{time.monotonic() - self._started_s:6.2f} s  {what}")
        self.add("fault", what=what)

    def add(self, event, **facts):
        """Add an event to the history."""
        self.tale.add({"e": event, "t": now_ms(), **facts})

    def wait(self, low_s, high_s):
        """Let a random time pass."""
        assert time.monotonic() - self._started_s < RUN_SECONDS_MAX, self.broken(["too slow"])
        time.sleep(self.moments.uniform(low_s, high_s))

    def wait_until(self, is_so, what):
        """Wait for something that is bound to happen."""
        while not is_so():
            assert time.monotonic() - self._started_s < RUN_SECONDS_MAX, self.broken([what])
            time.sleep(POLL_S)

    # --- what scenarios do, and the checker must know -------------------------------------------

    def kill(self, name, child):
        """Kill the node or the sqld of a node."""
        is_killed = self.fleet.kill(name, child)
        self.done["kills"] += is_killed
        self.tell(f"kill {child} of {name}: {is_killed}")

    def part(self, one, others, **changes):
        """Change the weather between a node and others."""
        told = {key: getattr(value, "value", value) for key, value in changes.items()}
        self.tell(f"{one} and {', '.join(others)}: {told}")
        self.done["partitions"] += 1
        self.fleet.part(one, others, **changes)

    def heal(self):
        self.tell("heal")
        self.network.heal()

    def rotate_keys(self, name):
        """Let a node sign with its next key."""
        self.tell(f"rotate the keys of {name}")
        self.done["key_rotations"] += 1
        self.fleet[name].run("keys", "rotate")
        self.add("operator", what="rotate-keys", node=name)

    def add_edge(self, name):
        """Let another edge join."""
        self.fleet.add(name)
        self.done["nodes_added"] += 1
        self.tell(f"{name} has joined")
        self.add("operator", what="add-region", node=name)

    def remove_edge(self, name):
        """Take an edge out for ever, in good order."""
        self.tell(f"remove {name}")
        self.done["nodes_removed"] += 1
        self.fleet.remove(name)
        self.add("operator", what="remove-region", node=name)

    def lose_primary(self):
        """Lose the primary for ever; phones that asked it ask the edges."""
        self.lose(PRIMARY, for_ever=True)
        assert self.phones is not None
        for phone in ("ada-far", "ben-copy"):
            if phone in self.phones.names:
                self.phones.aim([self.fleet.urls[SYD], self.fleet.urls[AMS]], phone)

    def take_over(self):
        """Let the edge lead that has read furthest, when both are up."""
        self.fleet.wait_until_ready()
        try:
            self.promote(AMS, force=False)
        except AssertionError as refused:
            self.tell(f"{AMS} is refused: {refused}")
            self.promote(SYD, force=False)

    def lose(self, name, *, for_ever=False):
        """Kill a node and everything of it."""
        self.tell(f"lose {name}{' for ever' if for_ever else ''}")
        self.done["nodes_lost"] += 1
        self.fleet.lose(name)
        if for_ever:
            self.fleet.gone.add(name)

    def promote(self, name, *, force, sets_back=True):
        """Make an edge the primary. `sets_back`: commits that only the old one has may be gone."""
        self.tell(f"promote {name}")
        self.done["promotions"] += 1
        # It is told before and after: phones may hear of it before the answer is there.
        what = "promote-force" if sets_back else "promote"
        self.add("operator", what=what, node=name)
        self.fleet.promote(name, force=force)
        self.add("operator", what=what, node=name)
        self.tell(f"{name} leads")

    def agree(self):
        """End all bad weather, and wait until one primary leads where there were two.

        What phones are told meanwhile may be of the database that is set back, whenever that is.
        """
        self.heal()
        self.fleet.wait_for_one_leader(look=lambda: self.add("operator", **SET_BACK, node=""))
        self.add("operator", **SET_BACK, node=self.fleet.leader)
        self.tell(f"{self.fleet.leader} leads")

    def hand_over(self, name):
        """Let the primary hand over to an edge."""
        self.tell(f"hand over to {name}")
        self.done["hand_overs"] += 1
        self.add("operator", what="hand-over", node=name)
        self.fleet.hand_over(name)
        self.tell(f"{name} leads")

    def set_role(self, space, person, role):
        """Put a person into a space with a role, or take them out (None); until it is answered."""
        self.tell(f"{person} in {space}: {role}")
        self.done["memberships"] += 1
        self.wait_until(lambda: self._has_set(space, person, role), f"{person} is {role}")

    def kill_phones(self, *changes):
        """Kill the phones' process, change files while there is none, and start it again."""
        assert self.phones is not None
        self.tell("kill the phones")
        self.done["phones_killed"] += 1
        self.phones.kill()
        for change in changes:
            change()
        self.phones.start()

    def copy_phones(self, *changes):
        """Kill the phones when nothing waits on them, and keep, put back or copy their files.

        What a file and its copy both have still to send may be merged twice: see README.md.
        """
        assert self.phones is not None
        self.heal()
        self.phones.write(is_on=False)
        self.fleet.wait_until_ready()
        self._settle_phones("before files are copied")
        self.kill_phones(*changes)
        self.phones.write(is_on=True)

    def set_phone_clock(self, name, offset_ms):
        """Let a phone's clock be wrong."""
        assert self.phones is not None
        self.tell(f"clock of {name}: {offset_ms} ms")
        self.done["phone_clocks"] += 1
        self.phones.set_clock(name, offset_ms)

    def set_clock(self, name, offset_ms):
        """Let a node's clock be wrong."""
        self.tell(f"clock of {name}: {offset_ms} ms")
        self.done["node_clocks"] += 1
        self.fleet.set_clock(name, offset_ms)

    def _has_set(self, space, person, role):
        try:
            self.fleet.set_member(space, person, role)
        except httpx.HTTPError as problem:
            self.tell(f"not yet: {problem!r}")
            return False
        for member in self.fleet.members():
            if (member["space"], member["person"]) == (space, person):
                self.add("member", **member)
        return True

    # --- the end --------------------------------------------------------------------------------

    def settle(self):
        """End all faults and the load; wait until nobody has anything left to do, and check."""
        self.tell("settle")
        self._lap("harm")
        self.network.heal()
        fleet, phones = self.fleet, self.phones
        assert phones is not None
        phones.write(is_on=False)
        for name in fleet.names:
            fleet.set_clock(name, 0)
        try:
            fleet.wait_until_ready()
        except Exception as problem:
            raise self.broken([f"not ready: {problem}"]) from problem
        self._settle_phones("after all faults")
        self._lap("settle")
        found = ending.tell_end(self)
        self._lap("end")
        events = read(self.history)
        self.statistics = {**self.done, **ending.counted(events)}
        violations, looked_at = ending.judged(events)
        self.statistics["checked"] = looked_at
        if found or violations:
            raise self.broken([*found, *violations])

    def broken(self, found):
        """Return the failure, with all that somebody needs to look into it."""
        nodes = self.fleet.folder / "nodes"
        again = f"python -m tests.faults --scenario {self.scenario} --seed {self.seed}"
        lines = [f"{self.scenario} with seed {self.seed}: {again}", *found]
        lines += ["What was done:", *self._told]
        lines.append(f"history: {self.history}")
        lines += [f"log: {nodes / name / 'node.log'}" for name in self.fleet.names]
        return Broken("\n  ".join(lines))

    def _start_phones(self):
        fleet = self.fleet
        plan = {"seed": self.seed, "pause_s": PAUSE_S, "phones": []}
        for phone in PHONES:
            urls = [fleet.urls[name] for name in phone["at"]]
            person = phone["name"][:3]
            token = fleet.token(person)
            plan["phones"].append({**phone, "person": person, "urls": urls, "token": token})
        self.phones = phones = PhonesProcess(self.folder / "phones", plan, history=self.history)
        fleet.phones_pids = lambda: phones.pids
        phones.start()
        self._started_s = time.monotonic()
        phones.ask("prepare")
        self._settle_phones("before any fault")
        self._started_s = time.monotonic()
        phones.write(is_on=True)

    def _settle_phones(self, when):
        assert self.phones is not None
        settled = self.phones.ask("settle", seconds=SETTLE_SECONDS_MAX)
        self.tell("settled")
        if not settled["is_quiet"]:
            loud = {n: s for n, s in settled["phones"].items() if s["queued"] or s["message"]}
            told = [f"not quiet {when}: {loud or settled['phones']}", str(self.fleet.outboxes())]
            raise self.broken(told)
