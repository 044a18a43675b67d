"""Law 9: a node killed at any statement of a commit has taken the whole push or nothing of it."""

import os
import signal
import sqlite3

import pytest

from core import Access, AddWins, App, Collection, Counter, Lww, Reject
from core.ids import PersonId
from core.judge import Judge
from edge.ports.records import MemberRecord
from edge.repositories.database import SqlUnit, tables_of
from edge.repositories.migrations import migrate
from edge.services.ingest.commit import GroupCommit
from edge.services.ingest.prepare import Preparer
from edge.services.ingest.prepared import PreparedPush
from edge.services.ingest.waves import Scheduler
from edge.storage.sqlite import _connect, _in_transaction, _Unit
from sync_protocol.digest import row_digest
from sync_protocol.messages.push import WireChange, WireMutation
from sync_protocol.messages.pushed import Pushed
from sync_protocol.rows import encode_row

NOW_MS = 1_780_000_000_000
DEVICE = 2


class Note(Collection, space="book"):
    """One note."""

    access = Access(read=["member"], insert=["member"], edit=["member"], delete=["member"])
    text = Lww(str)
    reads = Counter()
    tags = AddWins(str)


app = App("notes", version=1, spaces={"book": ["member"]})
app.add(Note)
tables = tables_of(app)


@app.rule(Note)
def no_shouting(_actor, _before, change):
    """Refuse one word, so that a receipt of its own is written too."""
    return Reject("no-shouting", "Do not shout.") if change.text == "SHOUT" else None


def opened(path):
    return _connect(
        f"{path.as_uri()}?mode=rwc", is_writer=True, synchronous="FULL", checkpoint_pages=1_000
    )


def set_up(sql):
    migrate(sql, app, tables.values(), new_database_id="database")
    unit = SqlUnit(sql, tables)
    unit.members.set(MemberRecord("ann", "home", "book", "member", 1))
    unit.meta.set("sequence", 1)
    assert unit.devices.register("ann", "phone", now_ms=NOW_MS).n == DEVICE


def a_push():
    def insert(row):
        return WireChange(
            collection="note", id=row, op="insert", space="home", fields={"text": "new"}
        )

    def edit(row, **fields):
        return WireChange(collection="note", id=row, fields=fields)

    changes = [
        [insert("a"), insert("b")],
        [edit("a", reads={"add": 1}), edit("b", reads={"add": 1}, tags={"add": ["x"]})],
        [edit("a", text="SHOUT", reads={"add": 10})],
        [edit("a", reads={"add": 1}), WireChange(collection="note", id="b", op="delete")],
    ]
    mutations = [
        WireMutation(number, 1_000 + number, wanted) for number, wanted in enumerate(changes, 1)
    ]
    prepared = Preparer(app).prepare(mutations, schema_version=1, expected=1)
    return PreparedPush(DEVICE, PersonId("ann"), 2_000, prepared)


def commit(sql):
    unit = SqlUnit(sql, tables)
    work = GroupCommit(app, Judge(app), Scheduler(app), unit, now_ms=NOW_MS, digests={})
    (answer,) = work.run([a_push()]).answers
    assert isinstance(answer, Pushed)
    return answer


class DyingUnit(_Unit):
    """Kills its own process before the statement with a given number."""

    def __init__(self, connection, statements):
        super().__init__(connection)
        self.left = statements

    def _live_on(self):
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1

    def all(self, sql, parameters=()):
        self._live_on()
        return super().all(sql, parameters)

    def one(self, sql, parameters=()):
        self._live_on()
        return super().one(sql, parameters)

    def run(self, sql, parameters=()):
        self._live_on()
        return super().run(sql, parameters)

    def many(self, sql, rows):
        self._live_on()
        super().many(sql, rows)


def commit_and_die(path, statements):
    """Commit in a process of its own; return whether it was killed."""
    child = os.fork()
    if child == 0:
        try:
            connection = opened(path)
            connection.execute("BEGIN IMMEDIATE")
            commit(DyingUnit(connection, statements))
            connection.execute("COMMIT")
        finally:
            os._exit(0)
    return os.waitpid(child, 0)[1] == signal.SIGKILL


def told(answer):
    """What a device is told, without the sequence of the moment."""
    return answer.merged, [(r.counter, r.outcome, r.code) for r in answer.receipts]


def read(path):
    """Return everything that must be whole: rows, digests, receipts, device, sequence."""
    connection = sqlite3.connect(path)
    names = ["c_note", "sk_merged_run", "sk_receipt", "sk_device", "sk_meta", "sk_digest"]
    return {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in names}


def require_true_digest(path):
    connection = opened(path)
    unit = SqlUnit(_Unit(connection), tables)
    living = sum(
        row_digest(encode_row(state.id, state.alive, state.fields))
        for state in unit.rows.load("note", ["a", "b"]).values()
        if state.is_alive
    )
    assert unit.digests.spaces(["home"]).get("home", {}).get("note", 0) == living
    connection.close()


def test_a_kill_at_any_statement_leaves_all_or_nothing(tmp_path):
    whole = tmp_path / "whole.db"
    connection = opened(whole)
    _in_transaction(set_up, connection)
    before = read(whole)
    answer = _in_transaction(commit, connection)
    connection.close()
    after = read(whole)
    assert told(answer) == ([(1, 2, answer.merged[0][2]), (4, 4, answer.merged[1][2])], [
        (3, "rejected", "no-shouting")
    ])  # fmt: skip
    kills = 0
    for statements in range(1_000):
        path = tmp_path / f"{statements}.db"
        connection = opened(path)
        _in_transaction(set_up, connection)
        connection.close()
        if not commit_and_die(path, statements):
            assert read(path) == after
            break
        kills += 1
        assert read(path) == before
        connection = opened(path)
        assert told(_in_transaction(commit, connection)) == told(answer)
        connection.close()
        assert read(path) == after, "sent again, it is taken once"
        require_true_digest(path)
    else:
        pytest.fail("the commit never came to its end")
    assert kills > 20, "every statement of the commit was a place to die at"
