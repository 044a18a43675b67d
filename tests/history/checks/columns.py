"""H19 plain columns: what an app's SQL reads is what the rows hold.

Decided in the end, when nothing is pending: the living rows of the phone's tables are those of its
confirmed rows, and their columns show the values of the states, as docs/CRDTS.md tells them.

Excused: fields that were never written show a default, which the history does not tell; rows and
collections behind a lens; kinds whose column is an object of the app's (groups, blobs, lists).
"""

import json

from tests.history.rows import name_of, same
from tests.history.schema import REGISTERS

NAME = "H19 columns"


def check(evidence):
    for phone in evidence.tale.phones.values():
        if phone.final is None or "columns" not in phone.final[1] or phone.final[1]["pending"]:
            continue
        index, event, rows = phone.final
        shown = {(collection, row_id): columns for collection, row_id, columns in event["columns"]}
        known = evidence.tale.schema.collections
        living = {key for key, row in rows.items() if row.is_alive and key[0] in known}
        for key in sorted(living ^ shown.keys()):
            where = "does not show" if key in living else "shows the dead or unknown"
            yield index, f"{phone.name}: its table {where} {name_of(key)}"
        for key in sorted(living & shown.keys()):
            evidence.counted["rows read by SQL"] += 1
            if rows[key].told_digest is None:
                for name, wrong in _row(evidence, key, rows[key], shown[key]):
                    yield index, f"{phone.name}: {name_of(key)}.{name} shows {wrong}"


def _row(evidence, key, row, columns):
    schema = evidence.tale.schema
    for name, column in columns.items():
        state, kind = row.fields.get(name), schema.kind(key[0], name)
        if state is None or kind not in _VALUES:
            continue
        expected = _VALUES[kind](schema.collections[key[0]].fields[name], state)
        if not _is_shown(column, expected):
            yield name, f"{column!r}, where its state means {expected!r}"


def _is_shown(column, expected):
    if isinstance(expected, bool):
        return column == int(expected)
    if isinstance(expected, set):
        return set(json.loads(column)) == expected
    if isinstance(expected, dict | list):
        return same(json.loads(column), expected)
    return same(column, expected)


def _register(_spec, state):
    return state[2]


_VALUES = {
    **dict.fromkeys(REGISTERS - {"group", "blob_reference", "list_order"}, _register),
    "max": lambda _spec, state: state[0],
    "min": lambda _spec, state: state[0],
    "ranked": lambda spec, state: spec["labels"][state[1]],
    "counter": lambda _spec, state: state[1],
    "bounded_counter": lambda _spec, state: sum(entry[1] - entry[3] for entry in state),
    "add_wins": lambda _spec, state: {entry[0] for entry in state if entry[2] > entry[3]},
    "flag": lambda _spec, state: any(add > removed for _, add, removed in state),
    "multi_value": lambda _spec, state: [
        entry[4] for entry in sorted(state, key=lambda e: (e[3], e[0])) if entry[1] > entry[2]
    ],
    "map": lambda _spec, state: {entry[0]: entry[4] for entry in state if not entry[3]},
    "append_only": lambda _spec, state: [entry[4] for entry in state],
}
