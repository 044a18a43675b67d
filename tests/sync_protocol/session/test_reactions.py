"""Each kind of fault has exactly one reaction."""

from sync_protocol.faults import FaultKind
from sync_protocol.session.client_faults import _REACT
from sync_protocol.session.reactions import ENDS_THE_STREAM, REACTIONS, Reaction


def test_the_table_is_complete():
    assert set(REACTIONS) == set(FaultKind)
    assert set(REACTIONS.values()) == set(Reaction) == set(_REACT)


def test_passing_trouble_never_ends_a_stream():
    assert Reaction.RETRY not in ENDS_THE_STREAM
