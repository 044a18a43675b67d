"""H15 tombstones never resurrect: what was deleted stays so until somebody brings it back.

Decided: every living row of every replica is alive by the stamp of an insert or a restore that was
accepted (or by the primary's own, n = 1, in an app where it revives rows: `edit_wins`, or what
rules derive); while a tombstone is held, only a later insert or restore brings its row back.

Excused: rows whose tombstone a node had collected that was not replaced before (it holds no stamp
to compare with: a phone whose clock is behind may insert the row again); stamps whose mutation the
history does not tell (unknown devices, databases set back).
"""

from collections import defaultdict

from tests.history.rows import name_of
from tests.history.tale import PRIMARY

NAME = "H15 tombstones"


def check(evidence):
    births = defaultdict(list)
    for identity, effects in evidence.effects.items():
        for (key, _), (kind, payloads) in effects.items():
            if kind == "alive" and payloads[0]:
                births[key, identity[0]].append(evidence.marks[identity])
            elif kind == "alive":
                evidence.counted["deletes"] += 1
    dead = defaultdict(dict)  # viewer -> key -> alive register of its tombstone
    for look in evidence.tale.looks:
        if not look.is_valid or look.is_set_back:
            dead[look.viewer].clear()
        if not look.is_valid:
            continue
        for row in look.changed:
            yield from _row(evidence, look, row, births, dead[look.viewer])


def _row(evidence, look, row, births, dead):
    h, n, is_alive = row.alive
    if not is_alive:
        dead[row.key] = row.alive
        return
    buried = dead.get(row.key)
    is_collected = evidence.tale.ledger.collected_at.get(row.key, look.index) < look.index
    if buried is not None and (h, n) <= buried[:2] and not is_collected:
        yield (
            look.index,
            f"{look.viewer}: {name_of(row.key)} is alive at {h}, deleted at {buried[0]}",
        )
    if n == PRIMARY:
        declared = evidence.tale.schema.collections.get(row.key[0])
        if (
            declared is not None
            and not declared.is_edit_wins
            and not evidence.tale.schema.has_rules
        ):
            yield look.index, f"{look.viewer}: {name_of(row.key)} was revived by the primary"
        evidence.counted["revivals"] += 1
        return
    if evidence.tale.ledger.devices and n not in evidence.tale.ledger.devices:
        return
    marks = births.get((row.key, n), ())
    if not any(mark.low <= h <= mark.high for mark in marks):
        what = f"is alive by ({h}, {n}), which inserted or restored nothing"
        yield look.index, f"{look.viewer}: {name_of(row.key)} {what}"
