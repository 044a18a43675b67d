"""What the people of the fault tests write: one function per kind, each one mutation.

Each gets the phone (its view, its `moments`), the open transaction and a space, and may find that
there is nothing to do: then nothing is made.
"""

from skerry_client import Add, AddElements, Lease, Off, On, RemoveElements, Resolve, Use
from tests.faults.survey import FORBIDDEN, SPACES, Note, Site

CODES = 25
"""So few that phones of two regions take the same one, and so many that most are taken once."""
TAGS = 40
"""A set's entries are bounded, and an element is added again after it was removed."""
QUANTITY_MAX = 100
STOCK_MAX = 9


def shared(space):
    """Return the id of the site of a space that everybody writes to."""
    return f"shared-{space.partition(':')[2]}"


def own(phone):
    """Return the id of the site that only this phone and its copies write to."""
    return f"own-{phone.name}"


def prepare(phone, *, is_first):
    """Make the sites that the other writes need."""
    wanted = [(SPACES[0], own(phone))]
    if is_first:
        wanted = [(space, shared(space)) for space in SPACES] + wanted
    for space, row_id in wanted:
        if phone.database.get(Site, row_id) is None:
            phone.database.insert(Site, space=space, id=row_id)


def write(phone):
    """Make one mutation of some kind; a phone that sees no site yet has nothing to write about."""
    moments = phone.moments
    space = SPACES[moments.random() < 0.3]
    if phone.database.get(Site, shared(space)) is None:
        return
    kind = moments.choice(KINDS)
    with phone.database.transaction() as transaction:
        kind(phone, transaction, space)


def count(phone, transaction, space):
    transaction.edit(Site, shared(space), visits=Add(phone.moments.randrange(1, QUANTITY_MAX)))


def count_own(phone, transaction, _space):
    if phone.database.get(Site, own(phone)) is not None:
        transaction.edit(Site, own(phone), visits=Add(phone.moments.randrange(1, QUANTITY_MAX)))


def move(phone, transaction, space):
    """Two rows in one mutation: the sum of all visits stays, for whoever sees both or none."""
    if phone.database.get(Site, own(phone)) is not None:
        quantity = phone.moments.randrange(1, QUANTITY_MAX)
        transaction.edit(Site, shared(space), visits=Add(-quantity))
        transaction.edit(Site, own(phone), visits=Add(quantity))


def name(phone, transaction, space):
    transaction.edit(Site, shared(space), title=f"{phone.name} {phone.moments.getrandbits(32):08x}")


def tag(phone, transaction, space):
    element = f"tag-{phone.moments.randrange(TAGS)}"
    transaction.edit(Site, shared(space), tags=AddElements(element))


def untag(phone, transaction, space):
    site = phone.database.get(Site, shared(space))
    if site.tags:
        element = phone.moments.choice(sorted(site.tags))
        transaction.edit(Site, shared(space), tags=RemoveElements(element))


def remark(phone, transaction, space):
    text = f"{phone.name} {phone.moments.getrandbits(32):08x}"
    transaction.edit(Site, shared(space), remarks=Resolve(text))


def switch(phone, transaction, space):
    transaction.edit(Site, shared(space), is_open=phone.moments.choice((On, Off))())


def deliver(phone, transaction, space):
    transaction.edit(Site, shared(space), stock=Add(phone.moments.randrange(1, STOCK_MAX)))


def consume(phone, transaction, space):
    """Use stock: what the phone believes to be there may be gone at the primary."""
    transaction.edit(Site, shared(space), stock=Use(phone.moments.randrange(1, STOCK_MAX)))


def lease(phone, transaction, space):
    transaction.edit(Site, shared(space), stock=Lease(phone.moments.randrange(1, STOCK_MAX)))


def note(phone, transaction, space):
    transaction.insert(Note, space=space, text="x" * phone.moments.randrange(40))


def coded_note(phone, transaction, space):
    transaction.insert(Note, space=space, text="code", code=phone.moments.randrange(1, CODES))


def shout(phone, transaction, space):
    """Refused by the rule, whole: neither the visit counts, nor is there a note."""
    transaction.edit(Site, shared(space), visits=Add(phone.moments.randrange(1, QUANTITY_MAX)))
    transaction.insert(Note, space=space, text=FORBIDDEN)


def edit_note(phone, transaction, _space):
    row_id = _some_note(phone, "_alive = 1")
    if row_id:
        transaction.edit(Note, row_id, text=f"edited by {phone.name}")


def delete_note(phone, transaction, _space):
    row_id = _some_note(phone, "_alive = 1")
    if row_id:
        transaction.delete(Note, row_id)


def restore_note(phone, transaction, _space):
    row_id = _some_note(phone, "_alive = 0")
    if row_id:
        transaction.restore(Note, row_id)


def _some_note(phone, condition):
    """Return the id of one of the first notes that meet a condition: phones meet there."""
    found = phone.database.query(f"SELECT id FROM note WHERE {condition} ORDER BY id LIMIT 6")
    return phone.moments.choice(found)["id"] if found else None


KINDS = (
    count,
    count,
    count_own,
    count_own,
    move,
    move,
    name,
    tag,
    untag,
    remark,
    switch,
    deliver,
    consume,
    lease,
    note,
    note,
    coded_note,
    shout,
    edit_note,
    delete_note,
    restore_note,
)
"""What a phone writes, by how often."""
