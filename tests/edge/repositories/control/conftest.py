"""A control database in a file."""

import pytest

from edge.repositories.control.database import SqlControlDatabase
from edge.storage.sqlite import SqliteEngine


@pytest.fixture
async def control(tmp_path):
    engine = SqliteEngine(tmp_path / "control.db", synchronous="NORMAL")
    await engine.open()
    database = SqlControlDatabase(engine)
    await database.migrate()
    yield database
    await database.close()
