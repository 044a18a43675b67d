"""The app of the end-to-end tests, schema version 1; `skerry serve` loads this file."""

from core import Access, AddWins, App, Collection, Counter, Lww, MultiValue, Reject

EVERYBODY = ("member",)
GUEST = ("guest",)
ACCESS = Access(
    read=EVERYBODY, insert=EVERYBODY, edit=EVERYBODY, delete=EVERYBODY, restore=EVERYBODY
)


class Site(Collection, space="region"):
    """A place that is visited; a guest may look at it, and at nothing else."""

    access = Access(
        read=(*EVERYBODY, *GUEST),
        insert=EVERYBODY,
        edit=EVERYBODY,
        delete=EVERYBODY,
        restore=EVERYBODY,
    )
    title = Lww(str)
    visits = Counter()
    tags = AddWins(str)
    remarks = MultiValue(str)


class Note(Collection, space="region"):
    """A text of any length."""

    access = ACCESS
    text = Lww(str)


app = App("survey", version=1, spaces={"region": (*EVERYBODY, *GUEST)})
app.add(Site, Note)


@app.rule(Note)
def no_shouting(_actor, _before, change):
    """Refuse one word, so that tests can be refused."""
    return Reject("no-shouting", "Do not shout.", ("text",)) if change.text == "SHOUT" else None
