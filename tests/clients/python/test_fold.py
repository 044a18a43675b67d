"""The fold by itself: confirmed state and pending mutations in, view out."""

from core.ids import RowId, SpaceId
from core.row import RowState
from skerry_client.fold import Pending, fold
from sync_protocol.messages.push import WireChange
from tests.clients.python.survey import Airfield

FIELDS = Airfield.fields


def edit(**fields):
    return (WireChange("airfield", "r1", "edit", fields=fields),)


def confirmed(sequence=5, **fields):
    return RowState(RowId("r1"), SpaceId("region:north"), sequence, (10, 2, True), fields)


def test_pending_writes_win_over_what_their_author_had_seen():
    view = fold(confirmed(name=[10, 2, "old"]), [Pending(3, 1, 11, edit(name="new"))], FIELDS)
    assert view.fields["name"] == [11, 3, "new"]


def test_a_later_confirmed_write_wins_over_an_earlier_pending_one():
    view = fold(confirmed(name=[20, 2, "theirs"]), [Pending(3, 1, 11, edit(name="mine"))], FIELDS)
    assert view.fields["name"] == [20, 2, "theirs"]


def test_a_counter_is_not_counted_twice_once_the_row_holds_the_mutation():
    base = confirmed(sequence=9, visits=[0, 5])
    merged = Pending(3, 1, 11, edit(visits={"add": 2}), "merged", sequence=9)
    assert fold(base, [merged], FIELDS).fields["visits"] == [0, 5]


def test_a_receipt_ahead_of_the_row_leaves_the_mutation_in_the_view():
    base = confirmed(sequence=8, visits=[0, 5])
    merged = Pending(3, 1, 11, edit(visits={"add": 2}), "merged", sequence=9)
    assert fold(base, [merged], FIELDS).fields["visits"] == [0, 7]


def test_refused_and_settled_mutations_leave_no_trace():
    refused = Pending(3, 1, 11, edit(visits={"add": 2}), "rejected", sequence=99)
    settled = Pending(3, 2, 12, edit(visits={"add": 2}), is_settled=True)
    assert fold(confirmed(visits=[0, 5]), [refused, settled], FIELDS).fields["visits"] == [0, 5]


def test_deleting_and_restoring_write_the_alive_register_only():
    delete = Pending(3, 1, 11, (WireChange("airfield", "r1", "delete"),))
    restore = Pending(3, 2, 12, (WireChange("airfield", "r1", "restore"),))
    base = confirmed(name=[10, 2, "kept"])
    assert not fold(base, [delete], FIELDS).is_alive
    view = fold(base, [delete, Pending(3, 3, 13, edit(name="under")), restore], FIELDS)
    assert view.is_alive
    assert view.fields["name"] == [11 + 2, 3, "under"]


def test_unknown_fields_and_payloads_that_no_longer_parse_are_left_to_the_primary():
    pending = [Pending(3, 1, 11, edit(future={"x": 1}, name=7, order=1))]
    view = fold(confirmed(later=[1, 1, "kept"]), pending, FIELDS)
    assert view.fields == {"later": [1, 1, "kept"], "order": [11, 3, 1]}


def test_the_confirmed_state_is_not_changed():
    base = confirmed(visits=[0, 5])
    fold(base, [Pending(3, 1, 11, edit(visits={"add": 2}))], FIELDS)
    assert base == confirmed(visits=[0, 5])
