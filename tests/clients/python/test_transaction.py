"""A write transaction that cannot be committed leaves nothing open."""

import sqlite3

import pytest

from skerry_client.store.database import transaction


def test_a_commit_that_fails_leaves_no_transaction_open(tmp_path):
    """As on a full disk: SQLite keeps the transaction when COMMIT itself fails."""
    connection = sqlite3.connect(tmp_path / "phone.db", isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("CREATE TABLE folder (id INTEGER PRIMARY KEY)")
    connection.execute("CREATE TABLE note (folder REFERENCES folder DEFERRABLE INITIALLY DEFERRED)")
    with pytest.raises(sqlite3.IntegrityError), transaction(connection):
        connection.execute("INSERT INTO note VALUES (1)")
    assert not connection.in_transaction
    with transaction(connection):
        connection.execute("INSERT INTO folder VALUES (1)")
    assert connection.execute("SELECT count(*) FROM folder, note").fetchone() == (0,)
    assert connection.execute("SELECT count(*) FROM folder").fetchone() == (1,)
    connection.close()
