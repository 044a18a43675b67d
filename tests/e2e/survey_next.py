"""The app of the end-to-end tests, schema version 2: a field renamed, a field added."""

from core import Access, AddWins, App, Collection, Counter, Lens, Lww, MultiValue

EVERYBODY = ("member",)
ACCESS = Access(
    read=EVERYBODY, insert=EVERYBODY, edit=EVERYBODY, delete=EVERYBODY, restore=EVERYBODY
)


class Site(Collection, space="region"):
    """A place that is visited."""

    access = ACCESS
    headline = Lww(str)
    visits = Counter()
    tags = AddWins(str)
    remarks = MultiValue(str)
    stars = Lww(int, low=0, high=5)


class Note(Collection, space="region"):
    """A text of any length."""

    access = ACCESS
    text = Lww(str)


app = App("survey", version=2, spaces={"region": EVERYBODY})
app.add(Site, Note)
app.lens(
    Lens(
        "site",
        below=1,
        renamed={"title": "headline"},
        up={"headline": str.upper},
        down={"headline": str.lower},
    )
)
