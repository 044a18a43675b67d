"""The raw limit does the same work as the node: same table, same winners."""

from bench.limits import TABLE, open_raw, seconds_to_upsert, stored_values
from bench.todo_rows import SPACE, Edit


def test_the_later_write_wins_whatever_the_order(tmp_path):
    source, raw = tmp_path / "source.sqlite", tmp_path / "raw.sqlite"
    with open_raw(source) as connection:
        connection.execute(
            f"INSERT INTO {TABLE.name} (id, space, sequence) VALUES ('a', ?, 1)", (SPACE,)
        )
    connection.close()
    edits = [
        Edit("a", "title", text, h, n) for text, h, n in (("x", 5, 2), ("y", 5, 3), ("z", 4, 9))
    ]
    assert seconds_to_upsert(raw, source, [edits[:2], edits[2:]]) > 0
    assert stored_values(raw)[0][:4] == ("a", "y", 5, 3)
