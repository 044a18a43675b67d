"""What happens in a simulation, drawn from its seed: a list of actions, each with its moment.

Every seed draws which families of faults it has at all and how many of each, so that runs differ in
kind ("swarm testing", Groce et al. 2012). An action carries what it needs, its own source of chance
included: leaving some actions out leaves the others as they were, which is what shrinking does.
"""

import random
from dataclasses import asdict, dataclass, field

SECONDS = 20.0
"""Virtual seconds of writing and of faults; settling comes after them."""
WRITES = (265, 295)
PHONES = (3, 5)
REGIONS = ("ams", "syd", "gru")
PEOPLE = ("ann", "ben", "cyd")
SPACES = ("north", "south")
HOUR_MS = 3_600_000
WEEK_MS = 7 * 24 * HOUR_MS


@dataclass(frozen=True)
class Action:
    """Something that happens at a moment (virtual seconds) to somebody."""

    at_s: float
    do: str
    to: str = ""
    facts: dict = field(default_factory=dict)

    def as_json(self):
        return asdict(self)


@dataclass(frozen=True)
class Plan:
    """One scenario. `phones`: (name, person, nodes, way); `families`: which faults it has."""

    seed: int
    regions: tuple
    phones: tuple
    ways: dict
    families: tuple
    actions: tuple

    def with_actions(self, actions):
        return Plan(self.seed, self.regions, self.phones, self.ways, self.families, tuple(actions))

    def as_json(self):
        return {
            "seed": self.seed,
            "regions": list(self.regions),
            "phones": [list(phone) for phone in self.phones],
            "ways": self.ways,
            "families": list(self.families),
            "actions": [action.as_json() for action in self.actions],
        }


def plan_of_json(found):
    """Return the plan that `as_json` has told."""
    return Plan(
        found["seed"],
        tuple(found["regions"]),
        tuple(tuple(phone) for phone in found["phones"]),
        found["ways"],
        tuple(found["families"]),
        tuple(Action(**action) for action in found["actions"]),
    )


class Drawing:
    """Draws one plan."""

    def __init__(self, seed):
        self.seed = seed
        self.chance = random.Random(f"{seed} plan")
        self.actions = []
        self.regions = REGIONS[: self.chance.choice((2, 2, 2, 3))]
        self.edges = [f"edge-{region}" for region in self.regions]
        self.nodes = ["primary", *self.edges]
        count = self.chance.randint(*PHONES)
        self.phones = [self._phone(number) for number in range(count)]
        self.names = [phone[0] for phone in self.phones]

    def _phone(self, number):
        nodes = self.chance.sample(self.nodes, len(self.nodes))
        if self.chance.random() < 0.8 and nodes[0] == "primary":
            nodes = [*nodes[1:], "primary"]
        person = PEOPLE[number % len(PEOPLE)]
        way = self.chance.choice(("rounds", "rounds", "stream"))
        return (f"phone-{number}", person, nodes, way)

    def moment(self, low=0.05, high=0.95):
        return round(SECONDS * (low + self.chance.random() * (high - low)), 3)

    def add(self, at_s, do, to="", **facts):
        self.actions.append(Action(at_s, do, to, facts))

    def draw(self):
        ways = self._ways()
        for _ in range(self.chance.randint(*WRITES)):
            self.add(self.moment(0, 1), "write", self.chance.choice(self.names), r=self.r())
        chosen = [name for name in FAMILIES if self.chance.random() < FAMILIES[name]]
        if self.chance.random() < 0.06:
            chosen = []  # some runs have no faults at all: they must be right too
        for name in chosen:
            getattr(self, f"_{name}")()
        if chosen and len(self.edges) == 2 and not NOT_WITH_TWO_PROMOTED.intersection(chosen):
            # Drawn apart, so that it came after the other families without changing their seeds.
            self.chance = random.Random(f"{self.seed} two promoted")
            if self.chance.random() < TWO_PROMOTED:
                chosen.append("two_promoted")
                self._two_promoted()
        self.actions.sort(key=lambda action: (action.at_s, action.do, action.to))
        return Plan(
            self.seed,
            tuple(self.regions),
            tuple(self.phones),
            ways,
            tuple(chosen),
            tuple(self.actions),
        )

    def r(self):
        return self.chance.getrandbits(48)

    def times(self, low, high):
        return range(self.chance.randint(low, high))

    def _ways(self):
        """Draw what the network is like when nothing is wrong."""
        chance = self.chance
        kind = chance.choice(("near", "near", "far", "bad"))
        return {
            "delay_ms": {"near": 2, "far": 60, "bad": 40}[kind],
            "jitter_ms": {"near": 3, "far": 40, "bad": 200}[kind],
            "stall": {"near": 0, "far": 0.01, "bad": 0.06}[kind],
            "reset": {"near": 0, "far": 0.002, "bad": 0.02}[kind],
            "again": {"near": 0.01, "far": 0.02, "bad": 0.05}[kind],
        }

    # --- the network -------------------------------------------------------------------------

    def _phones_offline(self):
        for _ in self.times(1, 6):
            mode = self.chance.choice(("cut", "swallow", "hold"))
            seconds = self.chance.choice((1, 4, 10, 20))
            phone = self.chance.choice(self.names)
            self.add(self.moment(), "offline", phone, mode=mode, seconds=seconds)

    def _partitions(self):
        for _ in self.times(1, 4):
            one, other = self.chance.sample(self.nodes, 2)
            mode = self.chance.choice(("cut", "swallow", "hold"))
            both = self.chance.random() < 0.7
            seconds = self.chance.choice((1, 3, 6, 12))
            self.add(self.moment(), "part", one, other=other, mode=mode, both=both, seconds=seconds)

    def _primary_away(self):
        at_s, seconds = self.moment(0.1, 0.6), self.chance.choice((4, 6, 10))
        for edge in self.edges:
            self.add(at_s, "part", "primary", other=edge, mode="cut", both=True, seconds=seconds)

    def _roaming(self):
        for phone in self.names:
            if self.chance.random() < 0.5:
                self.add(self.moment(0, 0.5), "roam", phone, on=True)

    # --- crashes and disks -------------------------------------------------------------------

    def _phones_killed(self):
        for _ in self.times(1, 5):
            phone = self.chance.choice(self.names)
            what = self.chance.choice(("kill", "kill", "doom", "close"))
            self.add(self.moment(), f"{what}_phone", phone, seconds=self.chance.choice((0.2, 2, 8)))

    def _nodes_killed(self):
        for _ in self.times(1, 4):
            node = self.chance.choice(self.nodes)
            what = self.chance.choice(("node", "node", "sqld", "power", "doom"))
            word = self.chance.choice(("", "tenants", "outbox", "sqld", "control"))
            self.add(self.moment(), "crash", node, what=what, word=word)

    def _disks_full(self):
        for _ in self.times(1, 2):
            machine = self.chance.choice([*self.nodes, *self.names])
            self.add(self.moment(), "disk_full", machine, seconds=self.chance.choice((1, 5)))

    def _replica_lost(self):
        self.add(self.moment(0.1, 0.8), "lose_replica", self.chance.choice(self.edges))

    # --- phones ------------------------------------------------------------------------------

    def _clocks(self):
        for _ in self.times(1, 5):
            machine = self.chance.choice([*self.names, *self.names, *self.nodes])
            offset_ms = self.chance.choice(
                (-HOUR_MS, -7_000, -900, 900, 7_000, HOUR_MS, 400 * 24 * HOUR_MS, -WEEK_MS)
            )
            if machine in self.nodes:
                offset_ms = max(-HOUR_MS, min(offset_ms, HOUR_MS))
            self.add(self.moment(0, 0.9), "clock", machine, offset_ms=offset_ms)

    def _backups(self):
        phone = self.chance.choice(self.names)
        at_s = self.moment(0.05, 0.5)
        self.add(at_s, "back_up_phone", phone)
        later = at_s + self.chance.choice((3, 8, 15))
        if self.chance.random() < 0.5:
            self.add(later, "restore_phone", phone)
        else:
            self.add(later, "clone_phone", phone)

    def _versions(self):
        self.add(self.moment(0.1, 0.6), "migrate", "")
        for phone in self.names:
            if self.chance.random() < 0.6:
                self.add(self.moment(0.1, 0.9), "app_version", phone, version=2)
                if self.chance.random() < 0.3:
                    self.add(self.moment(0.6, 0.95), "app_version", phone, version=1)

    def _weeks(self):
        phone = self.chance.choice(self.names)
        at_s = self.moment(0.1, 0.6)
        self.add(at_s, "offline", phone, mode="cut", seconds=12)
        self.add(at_s + 4, "weeks", "", weeks=self.chance.choice((1, 3, 14)))

    # --- operators ---------------------------------------------------------------------------

    def _hand_overs(self):
        for _ in self.times(1, 2):
            self.add(self.moment(0.1, 0.8), "hand_over", self.chance.choice(self.nodes))

    def _promotions(self):
        edge = self.chance.choice(self.edges)
        at_s = self.moment(0.2, 0.7)
        if self.chance.random() < 0.5:
            self.add(at_s, "lose_node", "primary")
            self.add(at_s + 2, "promote", edge, force=self.chance.random() < 0.5)
        else:
            self.add(at_s, "isolate", "primary", seconds=10)
            self.add(at_s + 1, "promote", edge, force=True)

    def _two_promoted(self):
        """The primary is lost, and two edges are promoted while they cannot hear each other."""
        one, other = self.chance.sample(self.edges, 2)  # a third one would lose what it had read
        at_s, seconds = self.moment(0.1, 0.4), self.chance.choice((5, 8))
        self.add(at_s, "lose_node", "primary")
        self.add(at_s + 0.1, "isolate", one, seconds=4 * SECONDS)
        self.add(at_s + 1, "promote", one, force=True)
        self.add(at_s + 1.1, "promote", other, force=True)
        self.add(at_s + seconds, "agree", one)

    def _restores(self):
        at_s = self.moment(0.05, 0.5)
        self.add(at_s, "back_up_primary", "")
        self.add(at_s + self.chance.choice((4, 10)), "restore_primary", "")

    def _regions(self):
        if self.chance.random() < 0.7:
            self.add(self.moment(0.1, 0.8), "add_region", "", region="fra")
        if self.chance.random() < 0.5 and len(self.edges) > 2:
            self.add(self.moment(0.5, 0.9), "remove_region", self.edges[-1])

    def _keys(self):
        for _ in self.times(1, 3):
            self.add(self.moment(), "rotate_keys", "")

    def _members(self):
        for _ in self.times(1, 6):
            role = self.chance.choice(("member", "lead", None, None))
            self.add(
                self.moment(),
                "member",
                self.chance.choice(PEOPLE),
                space=self.chance.choice(SPACES),
                role=role,
            )


FAMILIES = {
    "phones_offline": 0.6,
    "partitions": 0.4,
    "primary_away": 0.25,
    "roaming": 0.3,
    "phones_killed": 0.4,
    "nodes_killed": 0.4,
    "disks_full": 0.2,
    "replica_lost": 0.12,
    "clocks": 0.4,
    "backups": 0.3,
    "versions": 0.2,
    "weeks": 0.1,
    "hand_overs": 0.15,
    "promotions": 0.15,
    "restores": 0.1,
    "regions": 0.12,
    "keys": 0.15,
    "members": 0.4,
}
"""How often a seed has each family of faults."""
TWO_PROMOTED = 0.15
NOT_WITH_TWO_PROMOTED = frozenset({"hand_overs", "promotions", "restores", "regions"})
"""Whoever sees one of two primaries only does not do these as well."""


def draw(seed):
    """Return the plan of a seed."""
    return Drawing(seed).draw()
