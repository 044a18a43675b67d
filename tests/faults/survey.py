"""The app of the fault tests: one collection of every kind of merge, one with a rule."""

from core import Access, AddWins, App, Collection, Counter, Lww, Reject

EVERYBODY = ("member",)
SPACES = ("region:north",)
PEOPLE = ("ada", "ben")
ACCESS = Access(
    read=EVERYBODY, insert=EVERYBODY, edit=EVERYBODY, delete=EVERYBODY, restore=EVERYBODY
)


class Site(Collection, space="region"):
    """A place that is visited."""

    access = ACCESS
    title = Lww(str)
    visits = Counter()
    tags = AddWins(str)


class Note(Collection, space="region"):
    """A text; each mutation that leaves one can be recognised by it for ever."""

    access = ACCESS
    text = Lww(str)


app = App("faults", version=1, spaces={"region": EVERYBODY})
app.add(Site, Note)


@app.rule(Note)
def no_shouting(_actor, _before, change):
    """Refuse one word, so that something can be refused."""
    return Reject("no-shouting", "Do not shout.", ("text",)) if change.text == "SHOUT" else None
