"""The app of the fault tests: one field of most kinds of merge, a unique one, two roles, a rule."""

from core import (
    Access,
    AddWins,
    App,
    BoundedCounter,
    Collection,
    Counter,
    Flag,
    Lww,
    MultiValue,
    Reject,
    Unique,
)

NORTH, SOUTH = SPACES = ("region:north", "region:south")
"""Everybody stays in the first; people come into and leave the second in some scenarios."""
PEOPLE = ("ada", "ben", "cid")
MEMBER, GUEST = ROLES = ("member", "guest")
"""Guests read; what their phones write is refused."""
WRITERS = (MEMBER,)
ACCESS = Access(read=ROLES, insert=WRITERS, edit=WRITERS, delete=WRITERS, restore=WRITERS)
FORBIDDEN = "SHOUT"


class Site(Collection, space="region"):
    """A place that is visited."""

    access = ACCESS
    title = Lww(str)
    visits = Counter()
    tags = AddWins(str)
    remarks = MultiValue(str)
    is_open = Flag()
    stock = BoundedCounter()


class Note(Collection, space="region"):
    """A text; no two living ones of a space have the same code."""

    access = ACCESS
    unique = (Unique(("code",)),)
    text = Lww(str)
    code = Lww.optional(int, low=1)


app = App("faults", version=1, spaces={"region": ROLES})
app.add(Site, Note)


@app.rule(Note)
def no_shouting(_actor, _before, change):
    """Refuse one word, so that something can be refused."""
    return Reject("no-shouting", "Do not shout.", ("text",)) if change.text == FORBIDDEN else None
