"""Apps that the service tests declare: every field type, every constraint, and older versions."""

# pyright: reportArgumentType=false

from __future__ import annotations

from typing import Any

from core import (
    Access,
    AddWins,
    App,
    AppendOnly,
    BlobReference,
    BoundedCounter,
    Change,
    Collection,
    Counter,
    Custom,
    Derive,
    FirstWrite,
    Flag,
    Group,
    Lens,
    ListOrder,
    Lww,
    Map,
    Max,
    Min,
    MultiValue,
    Operation,
    Ranked,
    Reference,
    Reject,
    TreeParent,
    Unique,
)

MEMBERS = ("reader", "member", "lead")
OPEN = Access(
    read=MEMBERS,
    insert=("member", "lead"),
    edit=("member", "lead"),
    delete=("member", "lead"),
    restore=("member", "lead"),
)


def longer(base: Any, ours: str, theirs: str) -> str:
    """The custom resolver: both texts, in order; fails for some, to test that too."""
    if "fail" in (ours, theirs):
        raise ValueError(base)
    return " | ".join(sorted({ours, theirs}))


def _item(*, with_more: bool) -> Any:
    """A collection with a field of every type."""

    class Item(Collection, space="team"):
        title = Lww.optional(str)
        price = Lww(float)
        done = Lww(bool)
        place = Group(lat=float, lon=float)
        origin = FirstWrite(str)
        best = Max(int, low=0, high=1_000)
        worst = Min(float, low=-1e6, high=1e6)
        status = Ranked("draft", "sent", "paid")
        tags = AddWins(str)
        starred = Flag()
        remarks = MultiValue(str)
        labels = Map(int)
        visits = Counter()
        stock = BoundedCounter()
        order = ListOrder()
        log = AppendOnly(str)
        photo = BlobReference()
        note = Custom(str, longer)
        secret = Lww(str, write=("lead",))
        if with_more:
            colour = Lww(str, default="grey")
        access = OPEN

    return Item


def _add_rules(app: App, Item: Any, Ticket: Any) -> None:  # noqa: N803  (they are classes)
    """Business rules that reject, fail and derive."""

    @app.rule(Item)
    def paid_is_final(actor: Any, before: Any, change: Any) -> Any:
        if before.is_alive and before.status == "paid" and "title" in change:
            return Reject("paid", "A paid item keeps its title.", ("title",))
        if change.title == "crash":
            raise RuntimeError(actor)
        return None

    @app.rule(Ticket)
    def twins(actor: Any, before: Any, change: Any) -> Any:
        if change.sells is not None:
            use: Any = Change(
                "item", change.sells, Operation.EDIT, change.space, {"stock": {"use": 1}}
            )
            return Derive((use,))
        if change.operation is not Operation.INSERT or change.twin is None:
            return None
        twin: Any = Change(
            "ticket", f"{change.row}-twin", Operation.INSERT, change.space, {"code": change.twin}
        )  # type: ignore[arg-type]
        return Derive((twin,))


def make_app(version: int = 1, *, with_more: bool = False) -> App:
    """The app of most tests; `with_more` adds a collection and a field, which is additive."""
    app = App("survey", version=version, spaces={"team": MEMBERS, "desk": ("owner",)})

    Item = _item(with_more=with_more)  # noqa: N806  (a class)

    class Folder(Collection, space="team"):
        name = Lww.optional(str)
        parent = TreeParent()
        unique = (Unique(("name",)),)
        access = OPEN

    class Kept(Collection, space="team"):
        folder = Lww.optional(str)
        references = (Reference("folder", "folder", on_delete="reject"),)
        access = OPEN

    class Task(Collection, space="team"):
        folder = Lww.optional(str)
        text = Lww(str)
        references = (Reference("folder", "folder", on_delete="cascade"),)
        access = OPEN

    class Step(Collection, space="team"):
        task = Lww.optional(str)
        references = (Reference("task", "task", on_delete="cascade"),)
        access = OPEN

    class Bookmark(Collection, space="team"):
        task = Lww.optional(str)
        references = (Reference("task", "task", on_delete="clear"),)
        access = OPEN

    class Draft(Collection, space="team", edit_wins=True):
        text = Lww(str)
        access = OPEN

    class Salary(Collection, space="team"):
        amount = Lww(int)
        access = Access(read=("lead",), insert=("lead",), edit=("lead",), delete=("lead",))

    class Ticket(Collection, space="team"):
        code = Lww(str)
        sells = Lww.optional(str)
        twin = Lww.optional(str)
        count = Lww(int)
        unique = (Unique(("code",), scope="tenant"),)
        access = OPEN

    class Desk(Collection, space="desk"):
        text = Lww(str)
        access = Access(read=("owner",), insert=("owner",), edit=("owner",), delete=("owner",))

    app.add(Item, Folder, Kept, Task, Step, Bookmark, Draft, Salary, Ticket, Desk)
    if with_more:

        class Extra(Collection, space="team"):
            text = Lww(str)
            access = OPEN

        app.add(Extra)

    _add_rules(app, Item, Ticket)
    return app


def make_second_version() -> App:
    """The app after version 1, which wrote `title` and cents: `name` and units."""
    app = App("shop", version=2, spaces={"team": MEMBERS})

    class Good(Collection, space="team"):
        name = Lww(str)
        price = Lww(float)
        visits = Counter()
        colour = Lww(str)
        access = OPEN

    app.add(Good)
    app.lens(
        Lens(
            "good",
            below=1,
            renamed={"title": "name", "cents": "price"},
            up={"price": lambda cents: cents / 100},
            down={"price": lambda units: round(units * 100)},
        )
    )
    return app


def make_first_version() -> App:
    """What phones of version 1 declare."""
    app = App("shop", version=1, spaces={"team": MEMBERS})

    class Good(Collection, space="team"):
        title = Lww(str)
        cents = Lww(int)
        visits = Counter()
        access = OPEN

    app.add(Good)
    return app
