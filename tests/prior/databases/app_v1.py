"""The app of the version 1 database. Never changed: old databases are opened for ever."""

from core import (
    Access,
    AddWins,
    App,
    BoundedCounter,
    Collection,
    Counter,
    FirstWrite,
    Flag,
    Group,
    Lww,
    Map,
    Max,
    MultiValue,
    Ranked,
    Reference,
    TreeParent,
    Unique,
)

ROLES = ("reader", "member")
ALL = Access(
    read=ROLES, insert=("member",), edit=("member",), delete=("member",), restore=("member",)
)


def make_app() -> App:
    """Declare the app as it was."""
    app = App("prior", version=1, spaces={"team": ROLES})

    class Place(Collection, space="team"):
        name = Lww.optional(str)
        length = Lww(float)
        lit = Lww(bool)
        position = Group(lat=float, lon=float)
        found_by = FirstWrite(str)
        best = Max(int, low=0, high=1_000)
        status = Ranked("draft", "sent")
        tags = AddWins(str)
        starred = Flag()
        remarks = MultiValue(str)
        labels = Map(int)
        visits = Counter()
        stock = BoundedCounter()
        access = ALL

    class Folder(Collection, space="team"):
        name = Lww.optional(str)
        parent = TreeParent()
        unique = (Unique(("name",)),)
        access = ALL

    class Note(Collection, space="team"):
        folder = Lww.optional(str)
        references = (Reference("folder", "folder", on_delete="cascade"),)
        access = ALL

    app.add(Place, Folder, Note)
    return app
