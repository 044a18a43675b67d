"""One node per test, with two people in one region."""

import pytest

from tests.e2e.node_process import NodeProcess
from tests.e2e.phones import NORTH


@pytest.fixture
def node(tmp_path):
    with NodeProcess(data=tmp_path / "node") as started:
        for person in ("ada", "ben"):
            started.set_member(NORTH, person)
        yield started
