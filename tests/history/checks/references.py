"""H13 references: a living row refers to living rows of its space, or to none.

Decided: in every state of every node's database, and of every phone that may read both collections.

Excused: empty references (null or ""); states of a database that was set back.
"""

from tests.history.rows import name_of

NAME = "H13 references"


def check(evidence):
    schema = evidence.tale.schema
    declared = {
        name: collection.references
        for name, collection in schema.collections.items()
        if collection.references
    }
    concerned = set(declared)
    for references in declared.values():
        concerned.update(reference[1] for reference in references)
    for look in evidence.tale.looks:
        keys = {row.key[0] for row in look.changed} | {key[0] for key in look.gone}
        if look.is_valid and keys & concerned:
            yield from _look(evidence, look, declared)


def _look(evidence, look, declared):
    for key, row in look.rows.items():
        if key[0] not in declared or not row.is_alive:
            continue
        for field, collection, *_ in declared[key[0]]:
            state = row.fields.get(field)
            if (
                state is None
                or state[2] in {None, ""}
                or not _may_read(evidence, look, row, collection)
            ):
                continue
            evidence.counted["references"] += 1
            target = look.rows.get((collection, state[2]))
            if target is None or not target.is_alive or target.space != row.space:
                what = f"{name_of(key)}.{field} refers to {state[2]!r}, which is not there"
                yield look.index, f"{look.viewer}: {what}"


def _may_read(evidence, look, row, collection):
    if look.is_server:
        return True
    role = look.event["spaces"].get(row.space)
    return role is not None and evidence.tale.schema.may_read(collection, role)
