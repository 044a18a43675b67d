"""H16 access never leaks: a phone holds rows of spaces its person is in, and nothing else.

Decided, at every state of a phone's confirmed rows: for each row, its person was in the space at
the cursor's sequence, in a role that may read the collection; the spaces it knows, and the roles,
are those of that sequence; so a phone whose cursor has passed a removal holds nothing of the
space, and none holds rows of a space from before it was in it. Rows that are only shown (views)
are of its own writing or of a space it knows.

Excused: states without a cursor, or of a database that was set back; memberships whose sequence
the history does not tell.
"""

from tests.history.rows import name_of

NAME = "H16 access"


def check(evidence):
    tale, ledger = evidence.tale, evidence.tale.ledger
    spaces_of = {}
    for person, space in ledger.members:
        spaces_of.setdefault(person, []).append(space)
    known = {}
    for look in tale.looks:
        if look.is_server:
            continue
        known.setdefault(look.viewer, []).append((look.index, look.event["spaces"], look.sequence))
        if look.is_valid:
            yield from _look(evidence, look, spaces_of.get(look.person, ()))
    yield from _views(evidence, known)
    evidence.counted["removals"] += sum(
        1 for changes in ledger.members.values() for _, role in changes if role is None
    )


def _look(evidence, look, spaces):
    ledger = evidence.tale.ledger
    roles = {}
    for space in spaces:
        role = ledger.role(look.person, space, look.sequence)
        if role is not None:
            roles[space] = role
    if ledger.members and look.event["spaces"] != roles:
        yield (
            look.index,
            (
                f"{look.viewer} at {look.sequence} holds the spaces {look.event['spaces']}, where "
                f"{roles} is true"
            ),
        )
    for row in look.rows.values():
        role = roles.get(row.space)
        evidence.counted["rows held"] += 1
        if role is None:
            yield (
                look.index,
                (
                    f"{look.viewer} at {look.sequence} holds {name_of(row.key)} of "
                    f"{row.space!r}, where {look.person} is not in it"
                ),
            )
        elif not evidence.tale.schema.may_read(row.key[0], role):
            yield look.index, f"{look.viewer} holds {name_of(row.key)} as {role}"


def _views(evidence, known):
    for index, phone, event, own, _ in evidence.tale.views:
        spaces, cursor = {}, 0
        for at, told, sequence in known.get(phone, ()):
            if at > index:
                break
            spaces, cursor = told, sequence
        mine = None
        for row in event["rows"]:
            if row[2] in spaces or not row[3][0] or not (row[2] or row[3][2]):
                continue  # What is only pending on a row that is not here is shown to nobody.
            if mine is None:
                mine = {(c["collection"], c["id"]) for origin in own for c in origin.changes}
            if (row[0], row[1]) in mine or _was_member(evidence.tale, phone, row[2], cursor, index):
                continue
            yield index, f"{phone} shows {row[0]}/{row[1]} of {row[2]!r}, which it is not in"


def _was_member(tale, phone, space, cursor, index):
    """Tell whether a node knew by then that the person is in a space, or was after what the phone
    has read: what is provisional may come a moment before the round that tells of the space, and
    may be under way when the person is taken out again.
    """
    person, database = tale.phones[phone].person, tale.rows_of[index]
    sequence = max(
        (look.sequence for look in tale.looks if look.is_server and look.index <= index), default=0
    )
    return tale.ledger.role(person, space, sequence) is not None or any(
        cursor < at <= sequence for at in tale.ledger.granted(person, space, database)
    )
