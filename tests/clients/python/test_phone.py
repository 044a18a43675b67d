"""The app's side: local reads and writes, operations, transactions, refusals before storing."""

import sqlite3

import pytest

from core.errors import FieldError, IdentifierError, Refusal
from skerry_client import (
    Add,
    AddElements,
    Append,
    Drop,
    Lease,
    Off,
    On,
    Put,
    RemoveElements,
    Reopen,
    Reset,
    Resolve,
    RowExists,
    RowMissing,
    Skerry,
    TransactionOpen,
    UnknownField,
    Use,
    WriteTwice,
)  # fmt: skip
from tests.clients.python.links import check
from tests.clients.python.survey import (
    NORTH,
    Airfield,
    Clock,
    Note,
    database,
    entropy,
    seen,
    survey,
)


@pytest.fixture
def phone(tmp_path):
    app = survey()
    phone = Skerry(database(tmp_path), app, now_unix_ms=Clock(), entropy=entropy())
    yield phone
    phone.store.close()
    check(database(tmp_path), app)


def test_what_is_written_is_read_at_once(phone):
    row = phone.insert(Airfield, space=NORTH, name="Tempelhof", order=3)
    assert phone.get(Airfield, row).name == "Tempelhof"
    phone.edit(Airfield, row, name="Gatow", status="visited")
    seen = phone.get(Airfield, row)
    assert (seen.name, seen.status, seen.order, seen.visits) == ("Gatow", "visited", 3, 0)
    assert [r.row_id for r in phone.rows(Airfield, where={"status": "visited"})] == [row]
    assert phone.rows(Airfield, where='"order" > ?', params=[3]) == []
    assert phone.query("SELECT name FROM airfield WHERE _alive")[0]["name"] == "Gatow"


def test_every_operation_shows_its_effect(phone):
    row = phone.insert(Airfield, space=NORTH, spares=Add(5), tags={"a", "b"}, is_open=True)

    def look():
        return seen(phone, Airfield, row)

    phone.edit(Airfield, row, visits=Add(2), spares=Use(3))
    phone.edit(Airfield, row, visits=Add(-1), tags=[AddElements("c"), RemoveElements("a")])
    assert (look().visits, look().spares, look().tags) == (1, 2, {"b", "c"})
    phone.edit(Airfield, row, visits=Reset(), is_open=Off())
    phone.edit(Airfield, row, visits=Add(7), sizes=Put({"x": 1}, y=2), log=Append("one", "two"))
    assert (look().visits, look().is_open, look().sizes) == (7, False, {"x": 1, "y": 2})
    phone.edit(Airfield, row, sizes=[Drop("x"), Put(z=3)], is_open=On(), remarks=Resolve("fine"))
    assert (look().sizes, look().is_open, look().remarks) == ({"y": 2, "z": 3}, True, ("fine",))
    phone.edit(Airfield, row, status="signed off", spares=Lease(1))
    phone.edit(Airfield, row, status=Reopen("unseen"), log=Append("three"))
    phone.edit(Airfield, row, status="visited")
    assert (look().status, look().log) == ("visited", ("one", "two", "three"))
    phone.edit(Airfield, row, tags={"b", "d"}, sizes={"z": 4}, remarks="better", story="long")
    assert (look().tags, look().sizes, look().remarks) == ({"b", "d"}, {"z": 4}, ("better",))
    phone.edit(Airfield, row, position={"lat": 1.0, "lon": 2.0}, story="longer")
    assert (look().position.lat, look().story) == (1.0, "longer")
    custom = phone.pending()[-1].mutation.changes[0].fields["story"]
    assert custom == {"base": "long", "value": "longer"}


def test_base_versions_say_what_the_person_had_seen(phone):
    row = phone.insert(Airfield, space=NORTH, name="one")
    phone.edit(Airfield, row, name="two", order=1)
    first, second = (entry.mutation for entry in phone.pending())
    assert first.changes[0].base == {}
    assert second.changes[0].base == {"name": first.h}
    assert second.changes[0].seen == first.h


def test_a_transaction_is_one_mutation_or_nothing(phone):
    with phone.transaction() as t:
        row = t.insert(Airfield, space=NORTH, name="one")
        t.edit(Airfield, row, name="two", visits=Add(1))
        note = t.insert(Note, space=NORTH, text="hello")
    assert len(phone.pending()) == 1
    assert len(phone.pending()[0].mutation.changes) == 2
    assert phone.get(Airfield, row).name == "two"
    with pytest.raises(ZeroDivisionError), phone.transaction() as t:  # noqa: PT012
        t.delete(Note, note)
        raise ZeroDivisionError
    assert phone.get(Note, note).text == "hello"
    with pytest.raises(TransactionOpen), phone.transaction():
        phone.edit(Note, note, text="inside")
    with pytest.raises(WriteTwice), phone.transaction() as t:  # noqa: PT012
        t.edit(Airfield, row, visits=Add(1))
        t.edit(Airfield, row, visits=Add(1))
    with phone.transaction() as t:
        t.edit(Note, note, text="last words")
        t.delete(Note, note)
    assert phone.get(Note, note) is None
    assert len(phone.pending()) == 2


@pytest.mark.parametrize(
    ("error", "fields"),
    [
        (FieldError, {"name": 7}),
        (FieldError, {"visits": 7}),
        (FieldError, {"name": Add(1)}),
        (FieldError, {"is_open": "yes"}),
        (FieldError, {"tags": "abc"}),
        (FieldError, {"tags": [AddElements("a"), RemoveElements("a")]}),
        (Refusal, {"spares": Use(1)}),
        (UnknownField, {"colour": "red"}),
    ],
)
def test_errors_are_raised_before_anything_is_stored(phone, error, fields):
    row = phone.insert(Airfield, space=NORTH, name="kept")
    with pytest.raises(error):
        phone.edit(Airfield, row, **fields)
    assert len(phone.pending()) == 1
    assert phone.get(Airfield, row).name == "kept"


def test_rows_that_are_not_there(phone):
    row = phone.insert(Airfield, space=NORTH, id="known")
    with pytest.raises(RowExists):
        phone.insert(Airfield, space=NORTH, id="known")
    with pytest.raises(IdentifierError):
        phone.insert(Airfield, space="not a space")
    with pytest.raises(RowMissing):
        phone.edit(Airfield, "unknown", name="x")
    with pytest.raises(RowMissing):
        phone.restore(Airfield, "unknown")
    phone.delete(Airfield, row)
    with pytest.raises(RowMissing):
        phone.edit(Airfield, row, name="x")
    phone.restore(Airfield, row)
    assert phone.get(Airfield, row) is not None


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM airfield",
        "PRAGMA user_version = 3",
        "ATTACH ':memory:' AS x",
        "DROP TABLE note",
    ],
)
def test_apps_query_read_only(phone, sql):
    with pytest.raises(sqlite3.DatabaseError):
        phone.query(sql)


def test_a_clock_that_jumps_back_does_not_reorder_writes(tmp_path):
    clock = Clock()
    phone = Skerry(database(tmp_path), survey(), now_unix_ms=clock, entropy=entropy())
    row = phone.insert(Airfield, space=NORTH, name="first")
    clock.unix_ms -= 10**9
    phone.edit(Airfield, row, name="second")
    phone.store.close()
    phone = Skerry(database(tmp_path), survey(), now_unix_ms=clock, entropy=entropy(1))
    phone.edit(Airfield, row, name="third")
    stamps = [entry.h for entry in phone.pending()]
    assert stamps == sorted(set(stamps))
    assert seen(phone, Airfield, row).name == "third"
    phone.store.close()
