"""What people write: one seeded mutation of some kind, made from what their phone shows.

Rows and values are few, so that phones meet; a third of the mutations touch several rows.
"""

from core.crdt.list_order import between
from core.errors import CoreError
from skerry_client import (
    Add,
    AddElements,
    Append,
    ClientError,
    Drop,
    Lease,
    Off,
    On,
    Put,
    RemoveElements,
    Reopen,
    Reset,
    Resolve,
    Use,
)

SITES = 5
WORDS = ("a", "A", "b", "c")
FIELDS = (
    ("title", 4),
    ("code", 3),
    ("visits", 6),
    ("reset", 1),
    ("stock", 2),
    ("use", 5),
    ("lease", 2),
    ("tags", 5),
    ("untag", 4),
    ("remarks", 3),
    ("alarm", 3),
    ("status", 3),
    ("wind", 2),
    ("finder", 2),
    ("phones", 3),
    ("log", 2),
    ("place", 2),
    ("under", 3),
    ("grade", 2),
)
KINDS = (
    ("edit", 44),
    ("note", 20),
    ("shout", 2),
    ("several", 12),
    ("memo", 8),
    ("memo_edit", 8),
    ("delete", 5),
    ("restore", 4),
    ("insert", 6),
)


def choose(moments, table):
    """Draw a name by its weight."""
    names, weights = zip(*table, strict=True)
    return moments.choices(names, weights)[0]


class Writer:
    """Writes of one phone's person."""

    def __init__(self, phone, app):
        self._phone = phone
        self._site = app.collections["site"]
        self._notes = app.collections["note"]
        self._memos = app.collections["memo"]

    def write(self, database, moments):
        """Make one mutation; returns what kind it was, or None when nothing could be made."""
        spaces = sorted(database.spaces())
        if not spaces:
            return None
        space = moments.choice(spaces)
        kind = choose(moments, KINDS)
        try:
            return getattr(self, f"_{kind}")(database, moments, space)
        except (ClientError, CoreError) as refused:
            return f"not {kind}: {type(refused).__name__}"

    def _sites(self, database, space):
        return [row for row in database.rows(self._site) if row.space_id == space]

    def _insert(self, database, moments, space):
        number = moments.randrange(SITES)
        row_id = f"{space}-site-{number}"
        code = moments.choice((None, number, moments.randrange(3)))
        database.insert(self._site, space=space, id=row_id, title=moments.choice(WORDS), code=code)
        return "insert"

    def _some_site(self, database, moments, space):
        sites = self._sites(database, space)
        if not sites:
            return None
        return moments.choice(sites)

    def _edit(self, database, moments, space):
        site = self._some_site(database, moments, space)
        if site is None:
            return self._insert(database, moments, space)
        database.edit(self._site, site.row_id, **self._fields(site, database, moments))
        return "edit"

    def _fields(self, site, database, moments):
        fields = {}
        for _ in range(moments.choice((1, 1, 1, 2, 3))):
            kind = choose(moments, FIELDS)
            name, value = self._value(kind, site, database, moments)
            if name in self._site.fields and value is not None:
                fields[name] = value
        return fields or {"visits": Add(moments.randrange(-3, 9))}

    def _value(self, kind, site, database, moments):  # noqa: C901, PLR0912
        word = moments.choice(WORDS)
        if kind == "title":
            return "title", moments.choice((*WORDS, ""))
        if kind == "code":
            return "code", moments.randrange(4)
        if kind == "visits":
            return "visits", Add(moments.randrange(-3, 9))
        if kind == "reset":
            return "visits", Reset()
        if kind == "stock":
            return "stock", Add(moments.randrange(1, 6))
        if kind == "use":
            return "stock", Use(moments.randrange(1, 3))
        if kind == "lease":
            return "stock", Lease(moments.randrange(1, 4))
        if kind == "tags":
            return "tags", AddElements(word)
        if kind == "untag":
            return "tags", RemoveElements(moments.choice(sorted(site.tags))) if site.tags else None
        if kind == "remarks":
            return "remarks", Resolve(word)
        if kind == "alarm":
            return "alarm", Off() if site.alarm else On()
        if kind == "status":
            label = moments.choice(("unseen", "visited", "closed"))
            return "status", Reopen(label) if moments.random() < 0.3 else label
        if kind == "wind":
            return "wind", moments.randrange(250)
        if kind == "finder":
            return "finder", word
        if kind == "phones":
            return "phones", Drop(word) if moments.random() < 0.3 else Put({word: word})
        if kind == "log":
            return "log", Append(word)
        if kind == "place":
            return "place", {"parent": None, "index": between(None, None, moments.getrandbits(32))}
        if kind == "under":
            others = [row.row_id for row in self._sites(database, site.space_id)]
            return "under", moments.choice(others)
        return "grade", moments.randrange(10)

    def _new_id(self, moments, kind):
        return f"{self._phone.name}-{kind}-{moments.getrandbits(40):010x}"

    def _note_of(self, transaction, moments, space, site, text=None):
        transaction.insert(
            self._notes,
            space=space,
            id=self._new_id(moments, "note"),
            text=text or moments.choice(WORDS),
            site="" if site is None else site.row_id,
        )

    def _note(self, database, moments, space):
        site = self._some_site(database, moments, space)
        with database.transaction() as transaction:
            self._note_of(transaction, moments, space, site)
        return "note"

    def _memo(self, database, moments, space):
        database.insert(
            self._memos,
            space=space,
            id=f"{space}-memo-{moments.randrange(4)}",
            text=moments.choice(WORDS),
        )
        return "memo"

    def _memo_edit(self, database, moments, space):
        memos = [row for row in database.rows(self._memos) if row.space_id == space]
        if not memos:
            return self._memo(database, moments, space)
        memo = moments.choice(memos)
        database.edit(self._memos, memo.row_id, text=moments.choice(WORDS), score=Add(1))
        return "memo_edit"

    def _several(self, database, moments, space):
        site = self._some_site(database, moments, space)
        if site is None:
            return self._insert(database, moments, space)
        with database.transaction() as transaction:
            transaction.edit(self._site, site.row_id, visits=Add(1), tags=AddElements("t"))
            self._note_of(transaction, moments, space, site)
            if moments.random() < 0.3:
                other = self._some_site(database, moments, space)
                if other is not None and other.row_id != site.row_id:
                    transaction.edit(self._site, other.row_id, visits=Add(2))
        return "several"

    def _shout(self, database, moments, space):
        site = self._some_site(database, moments, space)
        with database.transaction() as transaction:
            self._note_of(transaction, moments, space, site, text="SHOUT")
            if site is not None:
                transaction.edit(self._site, site.row_id, visits=Add(100))
        return "shout"

    def _delete(self, database, moments, space):
        collection = moments.choice((self._site, self._notes, self._memos))
        rows = [row for row in database.rows(collection) if row.space_id == space]
        if not rows:
            return None
        database.delete(collection, moments.choice(rows).row_id)
        return "delete"

    def _restore(self, database, moments, space):
        number = moments.randrange(SITES)
        database.restore(self._site, f"{space}-site-{number}")
        return "restore"
