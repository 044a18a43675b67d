"""Opening a file with another version of the app."""

import pytest

from core.crdt.registry import Counter, Lww
from core.schema.app import App
from core.schema.collection import Collection
from core.schema.lens import Lens
from skerry_client import Add, Skerry, WrongDatabase
from sync_protocol.messages.welcome import Welcome
from tests.clients.python.fake_server import FakeServer
from tests.clients.python.links import check, sync
from tests.clients.python.survey import ACCESS, NORTH, database, seen


def version_one():
    class Note(Collection, space="region"):
        access = ACCESS
        text = Lww(str)

    app = App("notes", version=1, spaces={"region": ["member"]})
    app.add(Note)
    return app, Note


def version_two():
    class Note(Collection, space="region"):
        access = ACCESS
        text = Lww(str)
        likes = Counter()
        colour = Lww(str, default="white")

    class Folder(Collection, space="region"):
        access = ACCESS
        title = Lww(str)

    app = App("notes", version=2, spaces={"region": ["member"]})
    app.add(Note, Folder)
    return app, Note, Folder


def version_three():
    class Note(Collection, space="region"):
        access = ACCESS
        title = Lww(str)
        likes = Counter()
        colour = Lww(str, default="white")

    app = App("notes", version=3, spaces={"region": ["member"]})
    app.add(Note)
    app.lens(Lens("note", 2, renamed={"text": "title"}, up={"title": str.upper}))
    return app, Note


def test_columns_grow_and_fields_that_were_unknown_appear(tmp_path):
    path = database(tmp_path)
    old_app, OldNote = version_one()  # noqa: N806  (a class)
    new_app, NewNote, Folder = version_two()  # noqa: N806  (classes)
    server = FakeServer(new_app, [NORTH])
    other = Skerry(database(tmp_path, "other"), new_app)
    row = other.insert(NewNote, space=NORTH, text="shared", likes=Add(3))
    other.insert(Folder, space=NORTH, id="f", title="later")
    sync(other.store, server)
    phone = Skerry(path, old_app)
    sync(phone.store, server)
    mine = phone.insert(OldNote, space=NORTH, text="mine")
    assert seen(phone, OldNote, row).text == "shared"
    assert phone.digests() == other.digests()
    phone.store.close()
    phone = Skerry(path, new_app)
    check(path, new_app)
    assert seen(phone, NewNote, row).likes == 3
    assert seen(phone, NewNote, mine).colour == "white"
    assert seen(phone, Folder, "f").title == "later"
    assert phone.query("SELECT likes FROM note ORDER BY likes")[1][0] == 3
    assert [entry.schema_version for entry in phone.pending()] == [1]
    phone.edit(NewNote, mine, likes=Add(1))
    assert sync(phone.store, server).why == "live"
    assert phone.pending() == []
    phone.store.close()
    phone = Skerry(path, old_app)
    assert seen(phone, OldNote, mine).text == "mine"
    assert phone.store.cursor is None
    phone.edit(OldNote, mine, text="older app")
    assert sync(phone.store, server).why == "live"
    check(path, old_app)
    phone.store.close()
    other.store.close()


def test_a_lens_raises_what_is_shown_and_the_next_round_reads_anew(tmp_path):
    path = database(tmp_path)
    app, Note, _ = version_two()  # noqa: N806  (a class)
    server = FakeServer(app, [NORTH])
    phone = Skerry(path, app)
    row = phone.insert(Note, space=NORTH, text="old")
    sync(phone.store, server)
    digests = phone.digests()
    phone.edit(Note, row, colour="red")
    pending = phone.insert(Note, space=NORTH, text="queued")
    phone.store.close()
    app, Note = version_three()  # noqa: N806  (a class)
    phone = Skerry(path, app)
    assert seen(phone, Note, row).title == "OLD"
    assert seen(phone, Note, row).colour == "red"
    assert seen(phone, Note, pending).title == "QUEUED"
    assert phone.digests() == digests
    assert phone.store.cursor is None
    assert len(phone.pending()) == 2
    phone.store.close()


def test_rows_of_a_lost_database_hide_no_write_of_another_version(tmp_path):
    """The round that was to read anew for a lens has not come, and the database is another one."""
    path = database(tmp_path)
    app, Note, _ = version_two()  # noqa: N806  (a class)
    server = FakeServer(app, [NORTH])
    phone = Skerry(path, app)
    row = phone.insert(Note, space=NORTH, text="old")
    sync(phone.store, server)
    phone.edit(Note, row, text="newer")
    sync(phone.store, server)
    phone.edit(Note, row, text="mine")
    counter = phone.store.counter
    restored = Welcome(1, phone.store.device, "restored", 1, 2, "", 0, "reset", counter - 1)
    phone.store.greet(restored)
    phone.store.close()
    app, Note = version_three()  # noqa: N806  (a class)
    phone = Skerry(path, app)
    phone.store.record_receipts([(counter, counter, 1)], [])
    assert seen(phone, Note, row).title == "MINE"
    phone.store.close()


def test_a_file_of_another_app_is_refused(tmp_path):
    app, *_ = version_one()
    Skerry(database(tmp_path), app).store.close()
    other = App("other", version=1, spaces={"region": ["member"]})
    with pytest.raises(WrongDatabase):
        Skerry(database(tmp_path), other)
