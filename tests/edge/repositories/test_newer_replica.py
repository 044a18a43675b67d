"""An older edge over a database that a newer program has migrated hands on whole rows."""

from types import new_class
from typing import Any, cast

import pytest

from core.crdt.lww import Lww
from core.crdt.registry import SAMPLES
from core.ids import RowId, SpaceId
from core.policy import Access
from core.row import RowDelta
from core.schema.app import App
from core.schema.collection import Collection
from edge.repositories.database import TenantDatabase, tables_of
from edge.storage.tenants import TenantFiles
from tests.edge.services.harness import TENANT

STATES: dict[str, list[Any]] = {
    "lww": [5, 2, "x"],
    "group": [5, 2, {"lat": 1.5, "lon": 2.0}],
    "first_write": [5, 2, "x"],
    "max": [3],
    "min": [2.0],
    "ranked": [0, 1],
    "add_wins": [["a", 2, 1, 0]],
    "flag": [[2, 1, 0]],
    "multi_value": [[2, 1, 0, 5, "x"]],
    "map": [["a", 5, 2, 0, 1]],
    "counter": [0, 7],
    "bounded_counter": [[2, 3, 0, 0, 0]],
    "list_order": [5, 2, ["a", 1]],
    "tree_parent": [5, 2, "root"],
    "append_only": [[5, 2, 1, "x"]],
    "blob_reference": [5, 2, {"hash": "00"}],
    "custom": [5, 2, "x"],
}
EVERYBODY = ["member"]


def make_app(version: int) -> App:
    """Version 2 has a field of every kind more."""

    def body(namespace: dict[str, Any]) -> None:
        namespace["title"] = Lww(str)
        namespace["access"] = Access(
            read=EVERYBODY, insert=EVERYBODY, edit=EVERYBODY, delete=EVERYBODY, restore=EVERYBODY
        )
        if version > 1:
            namespace.update({f"a_{kind}": make() for kind, make in SAMPLES.items()})

    declared = new_class("Site", (Collection,), {"space": "region"}, body)
    app = App("survey", version=version, spaces={"region": EVERYBODY}, oldest_version=1)
    app.add(cast("type[Collection]", declared))
    return app


async def opened(folder, version, *, is_replica=False):
    files = TenantFiles(folder, synchronous="NORMAL")
    engine = await files.open(TENANT)
    return TenantDatabase(engine, tables_of(make_app(version)), is_replica=is_replica)


async def feed(database):
    return await database.read(
        lambda unit: unit.rows.feed({"site": ["north"]}, after=0, until=9, rows_max=9)
    )


async def of_space(database):
    return await database.read(lambda unit: unit.rows.of_space("site", "north"))


@pytest.fixture
async def alone(tmp_path):
    database = await opened(tmp_path, 1)
    await database.migrate(make_app(1), new_database_id="first")
    yield database
    await database.close()


@pytest.mark.parametrize("read", [feed, of_space])
async def test_rows_are_handed_on_with_fields_of_every_kind_that_are_not_declared(
    alone, tmp_path, read
):
    edge = await opened(tmp_path, 1, is_replica=True)
    assert await read(edge) == []
    primary = await opened(tmp_path, 2)
    await primary.migrate(make_app(2), new_database_id="second")
    fields = {"title": [5, 2, "x"]} | {f"a_{kind}": STATES[kind] for kind in SAMPLES}
    delta = RowDelta("site", RowId("s"), SpaceId("north"), (5, 2, True), fields)
    await primary.write(lambda unit: unit.rows.merge([(delta, 1)]))
    (whole,) = await read(primary)
    assert await read(edge) == [whole]
    assert await read(alone) != [whole], "what is no replica is migrated by its own program"
    found = await edge.read(lambda unit: unit.rows.load("site", ["s"])["s"].fields)
    assert list(found) == ["title"], "nothing but devices is given what is not declared"
    for database in (edge, primary):
        await database.close()
