"""H04 atomic visibility: of a mutation with several changes all are there, or none is.

Decided: for every mutation that was merged and wrote to more than one row or field of a space, in
every state of every phone's confirmed rows and of every node's database.

Excused: rows and collections the viewer may not read; effects that a state does not tell (sums,
unknown clock values) or above which another device's write stands; rows whose tombstone may be
gone; states of a database that was set back.
"""

from tests.history.presence import is_fresh

NAME = "H04 atomic visibility"


def check(evidence):
    presence = evidence.presence
    several = {
        identity
        for identity, effects in presence.effects.items()
        if any(len(of_space) > 1 for of_space in effects.values())
    }
    evidence.counted["mutations of several effects"] += len(several)
    evidence.counted["mutations of several rows"] += sum(
        1
        for identity in several
        if any(
            len({key for key, *_ in of_space}) > 1
            for of_space in presence.effects[identity].values()
        )
    )
    by_row = {
        key: [identity for identity in identities if identity in several]
        for key, identities in presence.by_row.items()
    }
    for looks in evidence.tale.by_viewer().values():
        whole, before = set(), None
        for look in looks:
            if is_fresh(look, before):
                whole.clear()
            before = look
            if look.is_valid:
                touched = dict.fromkeys(
                    identity for row in look.changed for identity in by_row.get(row.key, ())
                )
                yield from _look(evidence, look, touched, whole)


def _look(evidence, look, touched, whole):
    presence = evidence.presence
    for identity in touched:
        if identity in whole:
            continue
        is_whole = True
        for space, answers in presence.answers(identity, look).items():
            if True in answers and False in answers:
                claim = evidence.in_force[identity]
                yield look.index, f"{look.viewer} shows a part of {claim} in {space}"
            is_whole = is_whole and False not in answers
        if is_whole:
            evidence.counted["mutations seen whole"] += 1
            whole.add(identity)
