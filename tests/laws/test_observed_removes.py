"""Set, flag and multi-value register against models in which every write is known by everybody.

A model remembers each write with the writes its author had seen; the field types only remember
dots. Devices write against their own replica and exchange states at random, so that much is
concurrent.
"""

from collections import Counter as Tally

from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from core.crdt.add_wins import AddWins
from core.crdt.field import Write
from core.crdt.flag import Flag
from core.crdt.multi_value import MultiValue

TAGS, FLAG, REMARKS = AddWins(str), Flag(), MultiValue(str)
DEVICES = (2, 3, 4)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(DEVICES),
        st.sampled_from(("add", "add", "remove", "pull")),
        st.sampled_from("ab"),
        st.sampled_from(DEVICES),
        st.sampled_from((1, 2)),
    ),
    max_size=18,
)


class Replica:
    """One device: its field state, and for the model the writes it knows."""

    def __init__(self, n):
        self.n = n
        self.state = None
        self.known = {}
        self.counter = 0
        self.h = 0

    def next_write(self, step):
        self.counter += 1
        self.h += step
        return Write(self.h, self.n, self.counter)

    def pull(self, field, other):
        self.state = field.merge(self.state, other.state)
        self.known = {**self.known, **other.known}


def play(field, steps, write):
    """Run the steps, then let everybody pull from everybody; return the replicas."""
    replicas = {n: Replica(n) for n in DEVICES}
    for n, action, element, peer, distance in steps:
        replica = replicas[n]
        if action == "pull":
            replica.pull(field, replicas[peer])
            continue
        at = replica.next_write(distance)
        payload, record = write(replica, action, element)
        replica.state = field.merge(replica.state, field.delta(field.parse(payload), at))
        replica.known[(at.n, at.counter)] = (at, *record)
    for replica in replicas.values():
        for other in replicas.values():
            replica.pull(field, other)
    return list(replicas.values())


def own(dots, n):
    """Name the author's own dots by 0, as a device does before it has a number."""
    return [[0 if device == n else device, counter] for device, counter in dots]


def write_tag(replica, action, element):
    if action == "add":
        return {"add": [element]}, ("add", element, frozenset())
    removed = frozenset(
        dot for dot, (_, act, el, _) in replica.known.items() if act == "add" and el == element
    )
    seen = own(TAGS.dots(replica.state, element), replica.n)
    return {"remove": {element: seen}}, ("remove", element, removed)


def model_of_set(known):
    removed = {dot for _, action, _, seen in known.values() if action == "remove" for dot in seen}
    return {
        element
        for dot, (_, action, element, _) in known.items()
        if action == "add" and dot not in removed
    }


@given(STEPS)
def test_add_wins_is_the_set_in_which_unseen_adds_survive(steps):
    """merge.md section 6, law 20."""
    for replica in play(TAGS, steps, write_tag):
        assert TAGS.value(replica.state) == model_of_set(replica.known)


def write_flag(replica, action, _element):
    if action == "add":
        return {"on": True}, ("add", "", frozenset())
    removed = frozenset(dot for dot, (_, act, _, _) in replica.known.items() if act == "add")
    return {"off": own(FLAG.dots(replica.state), replica.n)}, ("remove", "", removed)


@given(STEPS)
def test_a_flag_is_on_while_an_unseen_on_survives(steps):
    for replica in play(FLAG, steps, write_flag):
        assert FLAG.value(replica.state) == bool(model_of_set(replica.known))


def write_remark(replica, action, element):
    # "add" writes without looking: only one's own earlier value is replaced.
    looked = action == "remove"
    seen = frozenset(replica.known if looked else (d for d in replica.known if d[0] == replica.n))
    dots = own(REMARKS.dots(replica.state), replica.n) if looked else []
    return {"value": element, "seen": dots}, ("write", element, seen)


def maximal(known):
    """Return the values of the writes that no other write had seen, in stamp order."""
    seen = {dot for _, _, _, below in known.values() for dot in below}
    stamped = [(at.h, at.n, value) for dot, (at, _, value, _) in known.items() if dot not in seen]
    return tuple(value for _, _, value in sorted(stamped))


@given(STEPS)
def test_multi_value_is_the_maximal_concurrent_writes(steps):
    """merge.md section 6, law 21."""
    for replica in play(REMARKS, steps, write_remark):
        expected = maximal(replica.known)
        event(f"siblings: {len(expected)}")
        assert REMARKS.value(replica.state) == expected


def test_the_models_meet_concurrency():
    """Both outcomes of every conflict occur, or the tests above would prove little."""
    tally = Tally()

    @settings(
        max_examples=300,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(STEPS)
    def count(steps):
        tally["runs"] += 1
        tags = play(TAGS, steps, write_tag)[0]
        tally["removed"] += any(removed >= add > 0 for _, _, add, removed in tags.state or ())
        tally["survived"] += any(
            action == "remove" and element in TAGS.value(tags.state)
            for _, action, element, _ in tags.known.values()
        )
        siblings = REMARKS.value(play(REMARKS, steps, write_remark)[0].state)
        tally["siblings"] += len(siblings) > 1
        tally["resolved"] += len(siblings) == 1

    count()
    for name in ("removed", "survived", "siblings", "resolved"):
        assert tally[name] >= tally["runs"] * 0.1, (name, tally)
