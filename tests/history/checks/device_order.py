"""H07 order of a device: nothing of a later mutation is seen without the earlier ones.

Decided: in every state of every phone's confirmed rows and of every node's database; and that the
clock values with which one device's mutations were merged grow with their counters.

Excused: as for H04, and rows of spaces the viewer is not in.
"""

from collections import defaultdict

from tests.history.presence import is_fresh

NAME = "H07 device order"


def check(evidence):
    by_device = defaultdict(list)
    position = {}
    for identity in evidence.in_force:
        position[identity] = len(by_device[identity[0]])
        by_device[identity[0]].append(identity)
    yield from _clocks(evidence, by_device)
    for viewer, looks in evidence.tale.by_viewer().items():
        seen, before = defaultdict(int), None
        for look in looks:
            if is_fresh(look, before):
                seen.clear()
            before = look
            if look.is_valid:
                for what in _look(evidence, by_device, position, look, seen):
                    yield look.index, f"{viewer} {what}"


def _clocks(evidence, by_device):
    for identities in by_device.values():
        last = None
        for identity in identities:
            claim = evidence.in_force[identity]
            if claim.h is None:
                continue
            if last is not None and claim.h <= last.h:
                yield claim.index, f"{claim} has the clock value {claim.h}, {last} has {last.h}"
            last = claim


def _look(evidence, by_device, position, look, seen):
    presence = evidence.presence
    for row in look.changed:
        for identity in presence.by_row.get(row.key, ()):
            n, place = identity[0], position[identity]
            if place < seen[n]:
                continue
            if not any(True in a for a in presence.answers(identity, look).values()):
                continue
            for earlier in by_device[n][seen[n] : place]:
                evidence.counted["earlier mutations looked for"] += 1
                for space, answers in presence.answers(earlier, look).items():
                    if False in answers:
                        yield (
                            f"shows {evidence.in_force[identity]} without "
                            f"{evidence.in_force[earlier]} in {space}"
                        )
            seen[n] = place + 1
