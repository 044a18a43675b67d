"""A database that is behind what was seen of it becomes another one."""

import pytest

from edge.repositories.database import DEVICES_SKIPPED, TenantDatabase, tables_of
from edge.storage.tenants import TenantFiles
from tests.edge.services.harness import TENANT
from tests.edge.services.survey import make_app


@pytest.fixture
async def database(tmp_path):
    files = TenantFiles(tmp_path, synchronous="NORMAL")
    app = make_app()
    opened = TenantDatabase(await files.open(TENANT), tables_of(app))
    await opened.migrate(app, new_database_id="first")
    yield opened
    await opened.close()


async def register(database, installation):
    record = await database.write(lambda unit: unit.devices.register("ann", installation, now_ms=1))
    return record.n


async def renewed(database, sequence):
    return await database.renew_if_behind("first", sequence, new_database_id="second")


async def test_numbers_that_the_lost_database_may_have_given_are_not_given_again(database):
    known = await register(database, "a")
    assert await renewed(database, 9)
    assert await register(database, "b") == known + DEVICES_SKIPPED
    assert await register(database, "c") == known + DEVICES_SKIPPED + 1


async def test_a_database_that_is_not_behind_goes_on_counting(database):
    known = await register(database, "a")
    assert not await renewed(database, 0)
    assert await register(database, "b") == known + 1
