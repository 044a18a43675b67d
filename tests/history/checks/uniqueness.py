"""H12 uniqueness: no two living rows have the same values where the app declares them unique.

Decided: in every state of every node's database, within a space or the whole tenant as declared,
and in every state of a phone within each space.

Excused: rows in which one of the fields was never written or is empty (null).
"""

import json

from tests.history.rows import name_of

NAME = "H12 uniqueness"


def check(evidence):
    schema = evidence.tale.schema
    declared = {
        name: collection.unique
        for name, collection in schema.collections.items()
        if collection.unique
    }
    if not declared:
        return
    for look in evidence.tale.looks:
        for name in {row.key[0] for row in look.changed} & declared.keys():
            for fields, scope in declared[name]:
                yield from _look(evidence, look, name, fields, scope)


def _look(evidence, look, name, fields, scope):
    holders = {}
    for key, row in look.rows.items():
        if key[0] != name or not row.is_alive:
            continue
        states = [row.fields.get(field) for field in fields]
        if any(state is None or state[2] is None for state in states):
            continue
        values = json.dumps([state[2] for state in states if state is not None])
        place = (row.space if scope == "space" or not look.is_server else "", values)
        evidence.counted["unique rows"] += 1
        if place in holders:
            other = name_of(holders[place])
            yield look.index, f"{look.viewer}: {name_of(key)} and {other} both have {values}"
        holders[place] = key
