"""The garbage collector stands still while commits are under way, and is left as it was found."""

import gc

import pytest

from edge.services.ingest.collector import paused_collector


@pytest.fixture(autouse=True)
def _as_found():
    was_enabled = gc.isenabled()
    yield
    (gc.enable if was_enabled else gc.disable)()


def test_it_waits_for_the_last_commit_under_way():
    gc.enable()
    with paused_collector():
        with paused_collector():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_one_that_was_switched_off_stays_off():
    gc.disable()
    with paused_collector():
        pass
    assert not gc.isenabled()


def test_it_comes_back_after_a_commit_that_failed():
    gc.enable()
    with pytest.raises(ZeroDivisionError), paused_collector():
        _ = 1 / 0
    assert gc.isenabled()
