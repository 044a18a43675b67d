"""H14 trees: moves never close a cycle.

Decided: in every state of every node's database and of every phone, following tree parents from any
row ends. Moves that would close a cycle are repaired by the primary within the same commit, so no
replica ever holds one.

Excused: states of a database that was set back.
"""

from tests.history.rows import name_of

NAME = "H14 trees"


def check(evidence):
    schema = evidence.tale.schema
    trees = {
        (name, field)
        for name, declared in schema.collections.items()
        for field in declared.fields
        if schema.kind(name, field) == "tree_parent"
    }
    for look in evidence.tale.looks:
        if not look.is_valid:
            continue
        changed = {row.key[0] for row in look.changed}
        for name, field in trees:
            if name in changed:
                yield from _look(evidence, look, name, field)


def _look(evidence, look, name, field):
    parents = {
        key[1]: row.fields[field][2]
        for key, row in look.rows.items()
        if key[0] == name and row.fields.get(field) is not None
    }
    ended = set()
    for start in parents:
        path, node = [], start
        while node in parents and node not in ended and node not in path:
            path.append(node)
            node = parents[node]
        evidence.counted["tree paths"] += 1
        if node in path:
            yield look.index, f"{look.viewer}: {name_of((name, node))} is among its own ancestors"
        ended.update(path)
