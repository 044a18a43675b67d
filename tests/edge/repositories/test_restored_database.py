"""A database that is behind what was seen of it, or has a new primary, becomes another one."""

import pytest

from edge.repositories.database import (
    DEVICES_SKIPPED,
    DEVICES_SPREAD,
    TenantDatabase,
    tables_of,
)
from edge.storage.tenants import TenantFiles
from tests.edge.services.harness import TENANT
from tests.edge.services.survey import make_app


async def founded(folder):
    files = TenantFiles(folder, synchronous="NORMAL")
    app = make_app()
    opened = TenantDatabase(await files.open(TENANT), tables_of(app))
    await opened.migrate(app, new_database_id="first")
    return opened


@pytest.fixture
async def database(tmp_path):
    opened = await founded(tmp_path)
    yield opened
    await opened.close()


async def register(database, installation):
    record = await database.write(lambda unit: unit.devices.register("ann", installation, now_ms=1))
    return record.n


async def renewed(database, sequence, *, new_database_id="second"):
    return await database.renew_if_behind("first", sequence, new_database_id=new_database_id)


async def test_numbers_that_the_lost_database_may_have_given_are_not_given_again(database):
    known = await register(database, "a")
    assert await renewed(database, 9)
    number = await register(database, "b")
    assert DEVICES_SKIPPED <= number - known < DEVICES_SKIPPED + DEVICES_SPREAD
    assert await register(database, "c") == number + 1


async def test_a_database_that_is_not_behind_goes_on_counting(database):
    known = await register(database, "a")
    assert not await renewed(database, 0)
    assert await register(database, "b") == known + 1


async def test_numbers_that_a_restored_database_gives_the_next_primary_does_not(database):
    """It has read that numbers were skipped, and of no device that came since."""
    await register(database, "a")
    assert await renewed(database, 9)
    await database.begin_epoch(1, new_database_id="")
    floor = await database.read(lambda unit: unit.meta.get("device_floor"))
    assert await database.begin_epoch(2, new_database_id="third")
    assert await register(database, "b") >= floor + DEVICES_SKIPPED


@pytest.mark.parametrize("is_restored", [True, False])
async def test_two_that_go_on_from_the_same_database_give_other_numbers(tmp_path, is_restored):
    """One backup is restored twice, or two nodes are promoted that do not hear of one another."""
    numbers = []
    for new_id in ("second", "third"):
        opened = await founded(tmp_path / new_id)
        known = await register(opened, "a")
        if is_restored:
            assert await renewed(opened, 9, new_database_id=new_id)
        else:
            await opened.begin_epoch(1, new_database_id="")
            assert await opened.begin_epoch(2, new_database_id=new_id)
        numbers.append(await register(opened, "b") - known)
        await opened.close()
    assert abs(numbers[0] - numbers[1]) > 1, "the next devices of both"
