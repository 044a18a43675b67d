"""A short history made by hand, in which everything is right; tests break one thing in it each.

Two phones (a of ann, b of bob), one primary, an edge, two spaces: north, where both are members,
and south, where ann is alone until she leaves. What happens, by the primary's sequence:

    1 2 3   ann and bob become members of north, ann of south
    4 5     a's 1: inserts item x and item y together
    6       b's 1: edits x (title, visits, takes the tag away that it saw), seen by b as "three"
    7       a's 2: edits x (a tag, stock, a log entry, a label), not having seen b's
    8       b's 2: leases stock of x; 9: b's 3 uses it
    10      a's 3: deletes y
    11      a's 4: inserts item z into south
    12      ann leaves south
    13      b's 4: inserts folder f and task t, which refers to it
    (9)     b's 5 is rejected
"""

import json

from tests.history.rows import MODULUS, Row

H = 1_000_000
ANN, BOB = 2, 3

APP = {
    "describe": {
        "app": "story",
        "version": 1,
        "collections": {
            "item": {
                "space": "team",
                "edit_wins": False,
                "fields": {
                    "title": {"kind": "lww", "scalar": "text"},
                    "visits": {"kind": "counter"},
                    "tags": {"kind": "add_wins"},
                    "stock": {"kind": "bounded_counter"},
                    "log": {"kind": "append_only"},
                    "labels": {"kind": "map"},
                    "best": {"kind": "max"},
                    "remark": {"kind": "multi_value"},
                    "status": {"kind": "ranked", "labels": ["draft", "sent"]},
                    "origin": {"kind": "first_write"},
                    "on": {"kind": "flag"},
                },
            },
            "folder": {
                "space": "team",
                "edit_wins": False,
                "fields": {
                    "name": {"kind": "lww", "scalar": "text"},
                    "parent": {"kind": "tree_parent"},
                },
            },
            "task": {
                "space": "team",
                "edit_wins": False,
                "fields": {"folder": {"kind": "lww", "scalar": "text"}},
            },
            "salary": {
                "space": "team",
                "edit_wins": False,
                "fields": {"amount": {"kind": "lww", "scalar": "integer"}},
            },
        },
    },
    "version": 1,
    "unique": {"folder": [[["name"], "space"]]},
    "references": {"task": [["folder", "folder", "cascade"]]},
    "read": {
        "item": ["lead", "member"],
        "folder": ["lead", "member"],
        "task": ["lead", "member"],
        "salary": ["lead"],
    },
    "ruled": [],
}


def at(moment):
    """The clock value of a moment of the story."""
    return H + moment


X4 = ["item", "x", "north", [at(1), ANN, True], {
    "title": [at(1), ANN, "one"], "visits": [0, 2], "tags": [["red", ANN, 1, 0]],
    "best": [7], "remark": [[ANN, 1, 0, at(1), "a"]], "status": [0, 0],
    "origin": [at(1), ANN, "ann"], "on": [[ANN, 1, 0]],
}, 4]  # fmt: skip
Y5 = ["item", "y", "north", [at(1), ANN, True], {"title": [at(1), ANN, "why"]}, 5]
X6 = ["item", "x", "north", X4[3], {
    **X4[4], "title": [at(2), BOB, "two"], "visits": [0, 5], "tags": [["red", ANN, 1, 1]],
    "best": [9], "remark": [[ANN, 1, 1, 0, None], [BOB, 1, 0, at(2), "b"]], "status": [0, 1],
    "on": [[ANN, 1, 1]],
}, 6]  # fmt: skip
X7 = ["item", "x", "north", X4[3], {
    **X6[4], "tags": [["blue", ANN, 2, 0], ["red", ANN, 1, 1]],
    "stock": [[ANN, 5, 0, 0, 0]], "log": [[at(3), ANN, 2, 0, "hello"]],
    "labels": [["k", at(3), ANN, 0, 1]],
}, 7]  # fmt: skip
X8 = [*X4[:4], {**X7[4], "stock": [[ANN, 5, 0, 0, 0], [BOB, 0, 3, 0, 99]]}, 8]
X9 = [*X4[:4], {**X7[4], "stock": [[ANN, 5, 0, 0, 0], [BOB, 0, 3, 2, 99]]}, 9]
Y10 = ["item", "y", "north", [at(6), ANN, False], Y5[4], 10]
Z11 = ["item", "z", "south", [at(7), ANN, True], {"title": [at(7), ANN, "zed"]}, 11]
F13 = ["folder", "f", "north", [at(8), BOB, True], {"name": [at(8), BOB, "f"]}, 13]
T14 = ["task", "t", "north", [at(8), BOB, True], {"folder": [at(8), BOB, "f"]}, 14]


def change(collection, row, op="edit", **rest):
    return {"collection": collection, "id": row, "op": op, **rest}


MADE = {
    ("a", 1): [
        change("item", "x", "insert", space="north", fields={
            "title": "one", "visits": {"add": 2}, "tags": {"add": ["red"]}, "best": 7,
            "remark": {"value": "a"}, "status": "draft", "origin": "ann", "on": {"on": True},
        }),
        change("item", "y", "insert", space="north", fields={"title": "why"}),
    ],
    ("b", 1): [change("item", "x", fields={
        "title": "two", "visits": {"add": 3}, "tags": {"remove": {"red": [[ANN, 1]]}}, "best": 9,
        "remark": {"value": "b", "seen": [[ANN, 1]]}, "status": "sent", "on": {"off": [[ANN, 1]]},
    })],
    ("a", 2): [change("item", "x", fields={
        "tags": {"add": ["blue"]}, "stock": {"add": 5}, "log": {"append": ["hello"]},
        "labels": {"set": {"k": 1}},
    })],
    ("b", 2): [change("item", "x", fields={"stock": {"lease": 3}})],
    ("b", 3): [change("item", "x", fields={"stock": {"use": 2}})],
    ("a", 3): [change("item", "y", "delete")],
    ("a", 4): [change("item", "z", "insert", space="south", fields={"title": "zed"})],
    ("b", 4): [
        change("folder", "f", "insert", space="north", fields={"name": "f"}),
        change("task", "t", "insert", space="north", fields={"folder": "f"}),
    ],
    ("b", 5): [change("item", "x", fields={"title": "never"})],
}  # fmt: skip
WHEN = {
    ("a", 1): 1, ("b", 1): 2, ("a", 2): 3, ("b", 2): 4, ("b", 3): 5, ("a", 3): 6, ("a", 4): 7,
    ("b", 4): 8, ("b", 5): 9,
}  # fmt: skip
NUMBER = {"a": ANN, "b": BOB}
PERSON = {"a": "ann", "b": "bob"}


class Story:
    """Tells the events; phones and the primary hold what they have been given so far."""

    def __init__(self, patched):
        self.events = []
        self._patched = patched
        self._outcomes = {"runs": [], "receipts": []}
        self._held = {"a": {}, "b": {}}
        self._spaces = {"a": {}, "b": {}}
        self._server = {}
        self._members = []

    def tell(self, event, **facts):
        self.events.append({"e": event, "t": len(self.events), **facts})

    def member(self, person, space, role, s):
        self.tell("member", person=person, space=space, kind="team", role=role, s=s)
        self._members.append([person, space, "team", role, s])
        self.server(s)

    def open(self, p, *, c=0):
        told = {"p": p, "i": f"i-{p}", "n": 0 if not c else NUMBER[p], "c": c}
        self.tell("opened", person=PERSON[p], **told, **{"from": ""})
        self.confirm(p, 0, why="start", full=True)
        self.tell("greeted", p=p, i=f"i-{p}", n=NUMBER[p], database="db", s=3, m=0, stale=False)

    def make(self, p, c, *, row):
        told = {"p": p, "i": f"i-{p}", "n": NUMBER[p], "c": c}
        self.tell("made", **told, h=at(WHEN[p, c]), v=1, changes=MADE[p, c])
        self.view(p, "write", row, c=c, pending=True)

    def view(self, p, of, *rows, pending=False, **facts):
        rows = [self._patched(row) for row in rows]
        self.tell("view", p=p, of=of, rows=[[*r[:5], pending] for r in rows], gone=[], **facts)

    def merge(self, p, c, *rows, o="merged"):
        """Let the primary judge; the phone is told."""
        if o == "rejected":
            self._outcomes["receipts"].append([NUMBER[p], c, o, 14, at(WHEN[p, c]), "no"])
        else:
            self._outcomes["runs"].append([NUMBER[p], c, c, rows[-1][5]])
        s = rows[-1][5] if rows else max(row[5] for row in self._server.values())
        h = at(WHEN[p, c])
        self.tell("judged", node="node", n=NUMBER[p], c=c, h=h, s=s, o=o, database="db")
        self.server(s, *rows)
        told = {"p": p, "i": f"i-{p}", "n": NUMBER[p], "via": "push", "o": o, "c": c, "to": c}
        self.tell("receipt", **told, s=s, h=h if o == "rejected" else 0, code="", conflicts=[])

    def server(self, s, *rows, full=False, node="node", role="primary"):
        rows = [self._patched(row) for row in rows]
        self._server.update({(row[0], row[1]): row for row in rows})
        told = {"rows": list(self._server.values()) if full else list(rows), "full": full}
        members, self._members = ([], self._members) if full else (self._members, [])
        self.tell(
            "server", node=node, role=role, epoch=0, database="db", s=s, horizon=0, lineage=[],
            gone=[], members=members, **told,
        )  # fmt: skip

    def confirm(self, p, cursor, *rows, why="round", gone=(), **facts):
        rows = [self._patched(row) for row in rows]
        self._held[p].update({(row[0], row[1]): row for row in rows})
        for key in gone:
            del self._held[p][tuple(key)]
        told = {"database": "db" if cursor else None, "cursor": cursor, "why": why}
        checkpoint = {space: self.digest(p, space) for space in self._spaces[p]} or None
        self.tell(
            "confirmed", p=p, **told, spaces=dict(self._spaces[p]), rows=list(rows),
            gone=[list(key) for key in gone], checkpoint=checkpoint, **facts,
        )  # fmt: skip

    def digest(self, p, space):
        rows = [Row(row) for row in self._held[p].values() if row[2] == space]
        return f"{sum(row.digest for row in rows) % MODULUS:032x}"

    def end(self, *, own=()):
        s = max(row[5] for row in self._server.values())
        self.tell("quiet")
        for p, held in self._held.items():
            columns = [_columns(row) for row in held.values() if row[3][2]]
            self.tell(
                "final", p=p, database="db", cursor=s, spaces=self._spaces[p], pending=[],
                rows=list(held.values()), columns=columns,
                digests={space: self.digest(p, space) for space in self._spaces[p]},
            )  # fmt: skip
        self.server(s, full=True)
        self.server(s, full=True, node="edge", role="edge")
        told = [run[:2] for run in self._outcomes["runs"]]
        told += [receipt[:2] for receipt in self._outcomes["receipts"]]
        devices = [
            [n, person, i, max(c for at_n, c in told if at_n == n), at(99)]
            for n, person, i in ((ANN, "ann", "i-a"), (BOB, "bob", "i-b"))
        ]
        self.tell(
            "outcomes", node="node", database="db", own=list(own), devices=devices, **self._outcomes
        )
        for p in self._held:
            self.tell("again", p=p, pushed=0, rows=0)


def _columns(row):
    shown = {
        "title": lambda state: state[2],
        "visits": lambda state: state[1],
        "stock": lambda state: sum(entry[1] - entry[3] for entry in state),
    }
    columns = {name: shown[name](state) for name, state in row[4].items() if name in shown}
    return [row[0], row[1], columns]


def told(*, patched=lambda row: row, more=lambda _story: None, own=()):
    """Return the events of the good story; they may be changed.

    `patched` changes every row in whatever is told of it, as an engine with a mistake would;
    `more` goes on before the end; `own` are the primary's own changes in its ledger.
    """
    story = Story(patched)
    story.tell("app", **APP)
    story.member("ann", "north", "member", 1)
    story.member("bob", "north", "member", 2)
    story.member("ann", "south", "member", 3)
    story.open("a")
    story.open("b")
    story.make("a", 1, row=X4)
    story.merge("a", 1, X4, Y5)
    story._spaces = {"a": {"north": "member", "south": "member"}, "b": {"north": "member"}}
    story.confirm("a", 5, X4, Y5, why="reset")
    story.view("a", "sync", X4, Y5)
    story.confirm("b", 5, X4, Y5, why="reset")
    story.make("b", 1, row=X6)
    story.make("a", 2, row=[*X4[:4], {**X4[4], **_only(X7, "tags", "stock", "log", "labels")}])
    story.merge("b", 1, X6)
    story.confirm("b", 6, X6)
    story.merge("a", 2, X7)
    story.confirm("a", 7, X7, why="poke")
    story.view("a", "sync", X7)
    story.make("b", 2, row=X7)
    story.merge("b", 2, X8)
    story.confirm("b", 8, X8)
    story.make("b", 3, row=X9)
    story.merge("b", 3, X9)
    story.make("a", 3, row=Y10)
    story.merge("a", 3, Y10)
    story.make("a", 4, row=Z11)
    story.merge("a", 4, Z11)
    story.confirm("a", 11, X9, Y10, Z11)
    story.member("ann", "south", None, 12)
    story._spaces["a"] = {"north": "member"}
    story.confirm("a", 12, gone=[("item", "z")])
    story.tell("killed", p="b")
    story.tell("opened", p="b", i="i-b", n=BOB, c=3, person="bob", **{"from": ""})
    story.confirm("b", 8, *story._held["b"].values(), why="start", full=True)
    story.make("b", 4, row=F13)
    story.merge("b", 4, F13, T14)
    story.make("b", 5, row=[*X9[:4], {**X9[4], "title": [at(9), BOB, "never"]}, 9])
    story.merge("b", 5, o="rejected")
    story.confirm("b", 14, X9, Y10, F13, T14)
    story.confirm("a", 14, F13, T14)
    more(story)
    story.end(own=own)
    return [json.loads(json.dumps(event)) for event in story.events]


def _only(row, *names):
    return {name: row[4][name] for name in names}
