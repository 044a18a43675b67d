"""An open node over a temporary folder."""

import pytest

from tests.edge.services.harness import running


@pytest.fixture
async def node(tmp_path):
    async with running(tmp_path) as harness:
        yield harness
