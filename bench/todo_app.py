"""The app that is measured: shared to-do lists, four plain fields and one rule.

`skerry serve bench/todo_app.py` serves it.
"""

from __future__ import annotations

from core import Access, Actor, App, Change, Collection, Lww, Reject

MEMBERS = ("member",)

app = App("todo", version=1, spaces={"household": MEMBERS})


class Todo(Collection, space="household"):
    """One thing to do."""

    access = Access(read=MEMBERS, insert=MEMBERS, edit=MEMBERS, delete=MEMBERS, restore=MEMBERS)

    title = Lww(str)
    note = Lww(str)
    priority = Lww(int, low=0, high=9)
    done = Lww(bool)


app.add(Todo)


@app.rule(Todo)
def what_is_done_stays_unimportant(
    actor: Actor, before: Todo, change: Change[Todo]
) -> Reject | None:
    """Reads the row and the change, as rules do; the measured changes never break it."""
    del actor
    priority = change.get(Todo.priority)
    if priority == 9 and before.done:
        return Reject("done-already", "What is done is not urgent.", ("priority",))
    return None
