"""Histories for the merge vectors: for each kind of field, who writes which payload when.

A write is [h, n, counter, payload]; the pairs meet in ties (equal clock values), concurrent writes
and, where the type has them, removes of what was and was not seen.
"""

from typing import Any, Final

REGISTER_STAMPS: Final = ((1, 2, 1), (2, 3, 1), (2, 2, 2), (3, 3, 2))
"""Device 3 writes later, then both tie at clock value 2."""


def at_stamps(*payloads: Any) -> list[list[Any]]:
    return [[*stamp, payload] for stamp, payload in zip(REGISTER_STAMPS, payloads, strict=True)]


_BLOB = {"sha256": "ab" * 32, "size": 3, "type": "image/png"}

HISTORIES: Final[dict[str, list[list[Any]]]] = {
    "lww": at_stamps("a", "A", None, ""),
    "group": at_stamps(*({"lat": float(n), "lon": -0.5} for n in range(4))),
    "first_write": [[3, 2, 1, "late"], [2, 3, 1, "earlier"], [2, 2, 2, "tied"], [4, 3, 2, "last"]],
    "max": at_stamps(3, -7, 1_000_000, 12),
    "min": at_stamps(3.5, -7.25, 0.0, 12.0),
    "ranked": at_stamps("sent", "draft", [1, "draft"], "paid"),
    "add_wins": at_stamps(
        {"add": ["cliff", "røyk"], "remove": {}},
        {"add": ["cliff"], "remove": {"røyk": [[2, 1]]}},
        {"add": [], "remove": {"cliff": [[2, 1]]}},
        {"add": ["\U0001f600"], "remove": {"cliff": [[3, 1]]}},
    ),
    "flag": at_stamps({"on": True}, {"off": [[2, 1]]}, {"on": True}, {"off": [[3, 1], [0, 1]]}),
    "multi_value": at_stamps(
        {"value": "a", "seen": []},
        {"value": "b", "seen": []},
        {"value": "c", "seen": [[2, 1], [3, 1]]},
        {"value": "d", "seen": [[3, 1]]},
    ),
    "map": at_stamps(
        {"set": {"x": 1, "y": 2}, "remove": []},
        {"set": {"x": 3}, "remove": ["y"]},
        {"set": {"y": 4}, "remove": ["x"]},
        {"set": {"é": 5}, "remove": []},
    ),
    "counter": at_stamps({"add": 3}, {"add": -5}, {"reset": 1}, {"add": 2, "epoch": 1}),
    "bounded_counter": at_stamps({"add": 5}, {"lease": 2}, {"use": 1}, {"use": 2}),
    "list_order": at_stamps(
        {"parent": None, "index": "V"},
        {"parent": "list-1", "index": "V"},
        {"parent": "list-2", "index": "Vk"},
        {"parent": "list-1", "index": "1"},
    ),
    "tree_parent": at_stamps("row-1", None, "row-2", "row-3"),
    "append_only": at_stamps(
        {"append": ["one", "two"]}, {"append": ["three"]}, {"append": []}, {"append": ["four"]}
    ),
    "blob_reference": at_stamps(_BLOB, None, {**_BLOB, "size": 4}, {**_BLOB, "type": "text/plain"}),
    "custom": at_stamps(
        {"value": "a", "base": None},
        {"value": "bb", "base": "a"},
        {"value": "c", "base": None},
        {"value": "dd", "base": "bb"},
    ),
}
