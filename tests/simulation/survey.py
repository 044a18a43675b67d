"""The app of the simulations, in two versions: every kind of merge, and every kind of rule."""

from core import (
    Access,
    AddWins,
    App,
    AppendOnly,
    BoundedCounter,
    Collection,
    Counter,
    FirstWrite,
    Flag,
    ListOrder,
    Lww,
    Map,
    Max,
    MultiValue,
    Ranked,
    Reference,
    Reject,
    TreeParent,
    Unique,
)

EVERYBODY = ("member", "lead")
OPEN = Access(read=EVERYBODY, insert=EVERYBODY, edit=EVERYBODY, delete=EVERYBODY, restore=EVERYBODY)


def make_app(version):
    """Declare the survey; version 2 has one field more, with a lens from version 1."""

    class Site(Collection, space="region"):
        """A place that is visited; its code is unique in its region."""

        access = OPEN
        unique = (Unique(("code",)),)
        title = Lww(str)
        code = Lww.optional(int)
        visits = Counter()
        stock = BoundedCounter()
        tags = AddWins(str)
        remarks = MultiValue(str)
        alarm = Flag()
        status = Ranked("unseen", "visited", "closed")
        wind = Max(int, low=0, high=250)
        finder = FirstWrite(str)
        phones = Map(str)
        log = AppendOnly(str)
        place = ListOrder()
        under = TreeParent()
        if version >= 2:
            grade = Lww.optional(int)

    class Note(Collection, space="region"):
        """A text about a site; it goes when its site goes."""

        access = OPEN
        references = (Reference("site", "site", on_delete="cascade"),)
        text = Lww(str)
        site = Lww(str)

    class Memo(Collection, space="region", edit_wins=True):
        """A text that survives its deletion when somebody writes to it."""

        access = OPEN
        text = Lww(str)
        score = Counter()

    app = App("simulated", version=version, spaces={"region": list(EVERYBODY)}, oldest_version=1)
    app.add(Site, Note, Memo)

    @app.rule(Note)
    def no_shouting(_actor, _before, change):
        """Refuse one word, so that something can be refused."""
        if change.get(Note.text) == "SHOUT":
            return Reject("no-shouting", "Do not shout.", ("text",))
        return None

    return app
