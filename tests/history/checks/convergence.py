"""H01 convergence: in the end every replica holds the same rows, to the last bit of metadata.

Decided: each phone's confirmed rows equal the primary's rows of its person's spaces and readable
collections, and each other node's database equals the primary's: ids, spaces, alive registers,
states, sequences. Each phone tells its end, and knows its person's spaces and roles.

Excused: lost phones; tombstones that one side has dropped; the form of rows behind a lens, whose
digests are compared instead.
"""

from tests.history.rows import name_of

NAME = "H01 convergence"


def check(evidence):
    tale, last = evidence.tale, evidence.last_server
    if last is None or tale.quiet is None:
        return
    for phone in tale.phones.values():
        if phone.is_lost:
            continue
        if phone.final is None:
            yield tale.quiet, f"{phone.name} has not told its end"
            continue
        yield from _phone(evidence, phone, last)
    for viewer, looks in tale.by_viewer().items():
        look = looks[-1]
        if look.is_server and look.index > tale.quiet and viewer != last.viewer:
            evidence.counted["nodes compared"] += 1
            yield from _rows(look.index, viewer, look.rows, last.rows)


def _phone(evidence, phone, last):
    index, event, rows = phone.final
    tale = evidence.tale
    roles = {
        space: role
        for (person, space) in tale.ledger.members
        if person == phone.person
        and (role := tale.ledger.role(person, space, last.sequence)) is not None
    }
    if event["spaces"] != roles:
        yield index, f"{phone.name} holds the spaces {event['spaces']}, where {roles} is true"
    expected = {
        key: row
        for key, row in last.rows.items()
        if row.space in roles and tale.schema.may_read(key[0], roles[row.space])
    }
    evidence.counted["phones compared"] += 1
    yield from _rows(index, phone.name, rows, expected)


def _rows(index, viewer, rows, expected):
    for key in sorted(rows.keys() | expected.keys()):
        have, want = rows.get(key), expected.get(key)
        if have is None or want is None:
            other = want if have is None else have
            if other is not None and other.is_alive:
                what = "has not got" if have is None else "has, and the primary has not,"
                yield index, f"{viewer} {what} {name_of(key)}"
        elif have.told_digest is not None:
            if have.digest != want.digest:
                yield index, f"{viewer}: {name_of(key)} is of another digest"
        elif (have.image, have.space) != (want.image, want.space):
            yield index, f"{viewer}: {name_of(key)} differs in {_difference(have, want)}"
        elif have.sequence != want.sequence:
            yield (
                index,
                (f"{viewer}: {name_of(key)} is of sequence {have.sequence}, not {want.sequence}"),
            )


def _difference(have, want):
    if have.space != want.space:
        return f"its space: {have.space} != {want.space}"
    if have.alive != want.alive:
        return f"its alive register: {have.alive} != {want.alive}"
    for name in sorted(have.fields.keys() | want.fields.keys()):
        left, right = have.fields.get(name), want.fields.get(name)
        if left != right or repr(left) != repr(right):
            return f"{name}: {left!r} != {right!r}"
    return "its bytes"
