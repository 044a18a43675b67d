"""Apps that the tests of the testing module declare."""

# pyright: reportArgumentType=false

from __future__ import annotations

from typing import Any

from core import (
    Access,
    AddWins,
    App,
    BoundedCounter,
    Change,
    Collection,
    Counter,
    Custom,
    Derive,
    Flag,
    Lww,
    Operation,
    Ranked,
    Reference,
    Reject,
    TreeParent,
    Unique,
)

ROLES = ("owner", "member", "reader")
WRITERS = ("owner", "member")


def join(base: Any, ours: str, theirs: str) -> str:
    """A resolver that keeps both."""
    del base
    return " | ".join(sorted({*ours.split(" | "), *theirs.split(" | ")}))


class Shelf(Collection, space="shop"):
    """Rows that other rows refer to."""

    access = Access(read=ROLES, insert=WRITERS, edit=WRITERS, delete=WRITERS, restore=WRITERS)
    unique = (Unique(("label",)),)
    label = Lww.optional(str)
    above = TreeParent()
    note = Custom(str, join)
    is_full = Flag()


class Good(Collection, space="shop", edit_wins=True):
    """Rows with a rule that rejects and one that derives."""

    access = Access(read=ROLES, insert=WRITERS, edit=WRITERS, delete=WRITERS, restore=WRITERS)
    references = (Reference("shelf", "shelf", on_delete="cascade"),)
    shelf = Lww.optional(str)
    title = Lww(str)
    price = Lww(int, low=0, write=("owner",))
    status = Ranked("new", "sold")
    stock = BoundedCounter()
    visits = Counter()
    tags = AddWins(str)


def make_shop() -> App:
    """Constraints, cascades, an edit that wins, a custom field, and rules."""
    app = App("shop", version=1, spaces={"shop": ROLES})
    app.add(Shelf, Good)

    @app.rule(Good)
    def sold_goods_keep_their_title(actor: Any, before: Any, change: Any) -> Any:
        if before.status == "sold" and "title" in change and actor.role != "owner":
            return Reject("sold", "It is sold.", ("title",))
        return None

    @app.rule(Good)
    def selling_fills_the_shelf(actor: Any, before: Any, change: Any) -> Any:
        shelf = change.get(Good.shelf) or before.shelf
        if change.get(Good.status) != "sold" or not shelf:
            return None
        edit: Any = Change(
            "shelf", shelf, Operation.EDIT, before.space_id, {"is_full": {"on": True}}
        )
        return Derive((edit,))

    return app


SHOP = make_shop()
