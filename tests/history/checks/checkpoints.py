"""H17 checkpoints verified: a phone's rows have the digests the server gave, and it knows its own.

Decided: at every round, poke and repair, for every space a digest was given for, the digest of the
rows the phone then holds, computed anew from docs/PROTOCOL.md, equals it; in the end the phone's
own running digests equal those of its rows, and those of all phones of a space with the same role
agree.

Excused: a repair's digest is of a later moment: where the phone itself says that it does not match
yet (`mismatched`), another round follows. A mismatch in a round or poke is a violation, except on
a phone whose file was damaged on purpose before (a `fault` with what = "damage" and its name).
"""

from tests.history.rows import MODULUS

NAME = "H17 checkpoints"


def check(evidence):
    damaged = {
        event.get("p") for event in evidence.tale.events
        if event["e"] == "fault" and event.get("what") == "damage"
    }  # fmt: skip
    for viewer, looks in evidence.tale.by_viewer().items():
        sums = {}
        for look in looks:
            if look.is_server:
                break
            _follow(sums, look)
            yield from _checkpoint(evidence, viewer, look, sums, is_damaged=viewer in damaged)
    yield from _finals(evidence)


def _follow(sums, look):
    for row in look.changed:
        old = look.before.get(row.key)
        if old is not None:
            sums[old.space] = sums.get(old.space, 0) - old.digest
        sums[row.space] = sums.get(row.space, 0) + row.digest
    for key in look.gone:
        old = look.before[key]
        sums[old.space] = sums.get(old.space, 0) - old.digest


def _checkpoint(evidence, viewer, look, sums, *, is_damaged):
    excused = look.event.get("mismatched", ()) if look.why == "repair" or is_damaged else ()
    for space, told in (look.event["checkpoint"] or {}).items():
        evidence.counted["digests given"] += 1
        if space in excused:
            evidence.counted["digests not matched"] += 1
        elif sums.get(space, 0) % MODULUS != int(told, 16):
            yield look.index, f"{viewer}: {space} has not the digest of the checkpoint"


def _finals(evidence):
    agreed = {}
    for phone in evidence.tale.phones.values():
        if phone.final is None:
            continue
        index, event, rows = phone.final
        sums = dict.fromkeys(event["digests"], 0)
        for row in rows.values():
            sums[row.space] = sums.get(row.space, 0) + row.digest
        for space, total in sums.items():
            told = int(event["digests"].get(space, "0"), 16)
            if total % MODULUS != told:
                yield index, f"{phone.name}: its digest of {space} is not that of its rows"
            place = (space, event["spaces"].get(space), event["database"], event["cursor"])
            other = agreed.setdefault(place, (phone.name, told))
            if other[1] != told:
                yield index, f"{phone.name} and {other[0]} have different digests of {space}"
