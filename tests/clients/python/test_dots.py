"""Renumbering a clone's waiting mutations: dots follow the writes they name."""

import pytest

from core.crdt.registry import AddWins
from core.schema.app import App
from core.schema.collection import Collection
from core.schema.lens import Lens
from skerry_client.dots import Renumbering, kinds_of
from sync_protocol.messages.push import WireChange, WireMutation
from tests.clients.python.survey import ACCESS, survey

# Counters 1, 2 and 4 have final outcomes; 3, 5 and 6 wait and become 1, 2 and 3.
CLONE = Renumbering(7, (3, 5, 6))


@pytest.mark.parametrize(
    ("dots", "rewritten"),
    [
        ([[0, 2]], [[7, 2]]),
        ([[7, 2]], [[7, 2]]),
        ([[0, 3]], [[0, 1], [7, 2]]),
        ([[0, 4]], [[0, 1], [7, 4]]),
        ([[0, 6]], [[0, 3], [7, 4]]),
        ([[0, 2], [7, 5]], [[0, 2], [7, 4]]),
        ([[8, 6]], [[8, 6]]),
        ([], []),
    ],
)
def test_a_dot_covers_the_same_writes_as_before(dots, rewritten):
    assert CLONE.dots(dots) == rewritten


def test_a_phone_that_merged_nothing_has_only_waiting_dots():
    assert Renumbering(7, (1, 2)).dots([[0, 2]]) == [[0, 2]]


def test_payloads_of_each_kind_with_dots_are_rewritten():
    fields = {
        "tags": {"add": ["y"], "remove": {"x": [[0, 5]]}},
        "is_open": {"off": [[7, 1]]},
        "remarks": {"value": "v", "seen": [[0, 3], [9, 9]]},
        "sizes": {"remove": ["off"], "set": {"seen": 1}},
        "name": "off",
    }
    mutation = WireMutation(5, 99, [WireChange("airfield", "r", fields=fields)])
    renumbered = CLONE.mutation(mutation, kinds_of(survey(), 1))
    assert (renumbered.counter, renumbered.h) == (2, 99)
    assert renumbered.changes[0].fields == {
        **fields,
        "tags": {"add": ["y"], "remove": {"x": [[0, 2], [7, 4]]}},
        "is_open": {"off": [[7, 1]]},
        "remarks": {"value": "v", "seen": [[0, 1], [7, 2], [9, 9]]},
    }


def test_kinds_are_known_by_the_names_of_older_versions():
    class Renamed(Collection, space="region"):
        access = ACCESS
        labels = AddWins(str)

    app = App("survey", version=2, spaces={"region": ["member"]})
    app.add(Renamed)
    app.lens(Lens("renamed", 1, renamed={"tags": "labels"}))
    assert kinds_of(app, 1) == {("renamed", "tags"): "add_wins"}
    assert kinds_of(app, 2) == {("renamed", "labels"): "add_wins"}
