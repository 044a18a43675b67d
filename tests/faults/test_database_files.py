"""Copies of a database that differ are told apart, and nothing else is."""

import sqlite3

from tests.faults.database_files import contents, differences


def test_files_that_differ_are_noticed(tmp_path):
    for name, rows in (("one", [(1, "a")]), ("same", [(1, "a")]), ("other", [(1, "b"), (2, "c")])):
        with sqlite3.connect(tmp_path / name) as connection:
            connection.execute("CREATE TABLE sk_fence (id INTEGER)")
            connection.execute("CREATE TABLE t (id INTEGER, x TEXT)")
            connection.executemany("INSERT INTO t VALUES (?, ?)", rows)
            connection.execute("INSERT INTO sk_fence VALUES (?)", (len(rows),))
        connection.close()
    copies = {name: contents(tmp_path / name) for name in ("one", "same", "other", "gone")}
    assert differences({name: copies[name] for name in ("one", "same")}) == []
    found = differences(copies)
    assert len(found) == 2
    assert "1 rows only in one, 2 only in other" in found[0]
    assert "gone cannot be read" in found[1]
