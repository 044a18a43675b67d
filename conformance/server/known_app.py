"""The app that a server serves while `skerry conformance server` holds it against the protocol.

`skerry conformance app > conformance_app.py` writes this file; `skerry serve conformance_app.py`
serves it. Any other server serves the same declaration: its fingerprint is compared.
"""

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
    FirstWrite,
    Flag,
    Group,
    ListOrder,
    Lww,
    Map,
    Max,
    Min,
    MultiValue,
    Ranked,
    Reject,
    TreeParent,
)
from core.rules import Actor

MEMBERS = ["member"]
ACCESS = Access(read=MEMBERS, insert=MEMBERS, edit=MEMBERS, delete=MEMBERS, restore=MEMBERS)


def longer(_base: str | None, ours: str, theirs: str) -> str:
    """Resolve by length, then by code point order."""
    return max(ours, theirs, key=lambda text: (len(text), text))


class Item(Collection, space="conformance"):
    """What most cases write to; guests may read it, and nothing else."""

    access = Access(
        read=[*MEMBERS, "guest"],
        insert=MEMBERS,
        edit=MEMBERS,
        delete=MEMBERS,
        restore=MEMBERS,
    )
    title = Lww(str)
    amount = Counter()
    tags = AddWins(str)


class Every(Collection, space="conformance"):
    """One field of every kind, declared as in the golden vectors and named after its kind."""

    access = ACCESS
    lww = Lww.optional(str)
    group = Group(lat=float, lon=float)
    first_write = FirstWrite(str)
    max = Max(int, low=-1_000_000, high=1_000_000)
    min = Min(float, low=-1e6, high=1e6)
    ranked = Ranked("draft", "sent", "paid")
    add_wins = AddWins(str)
    flag = Flag()
    multi_value = MultiValue(str)
    map = Map(int)
    counter = Counter()
    bounded_counter = BoundedCounter()
    list_order = ListOrder()
    tree_parent = TreeParent()
    append_only = AppendOnly(str)
    blob_reference = BlobReference()
    custom = Custom(str, longer)


app = App("conformance", version=1, spaces={"conformance": [*MEMBERS, "guest"]})
app.add(Item, Every)


@app.rule(Item)
def no_shouting(_actor: Actor, _before: Item, change: Change[Item]) -> Reject | None:
    """Refuse one word, so that there is something to refuse."""
    if change.get(Item.title) == "SHOUT":
        return Reject("no-shouting", "Do not shout.", ("title",))
    return None
