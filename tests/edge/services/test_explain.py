"""Explanations from a tenant's own database: the role and the row as they are now."""

from typing import Any

import pytest

from edge.errors import InvalidQuery
from edge.ports.records import MemberRecord
from tests.edge.services.harness import delete, edit, insert


async def why(node, person, operation, row="r1", **options):
    found = await node.tenant.explain.explain(
        person=person, operation=operation, collection="item", row=row, **options
    )
    return None if found.rejection is None else found.rejection.code


async def test_it_reads_role_and_row_and_agrees_with_what_happens(node):
    ann = await node.device("ann")
    await node.join("rita", role="reader")
    await ann.push(insert("item", "r1", title="x", status="paid"))
    assert await why(node, "ann", "read") is None
    assert await why(node, "rita", "read") is None
    assert await why(node, "eve", "read") == "row-missing"
    assert await why(node, "rita", "edit", fields={"price": 1.0}) == "forbidden"
    assert await why(node, "ann", "edit", fields={"secret": "s"}) == "field-forbidden"
    attempts: list[dict[str, Any]] = [{"title": "y"}, {"secret": "s"}, {"price": 1.0}]
    for fields in attempts:
        told = await why(node, "ann", "edit", fields=fields)
        receipt = await ann.push(edit("item", "r1", **fields))
        assert told == (None if receipt is None else receipt.code)


async def test_an_insert_is_explained_in_the_space_it_names(node):
    await node.device("ann")
    member = MemberRecord("ann", "east", "desk", "member", 9)
    await node.database._inner.write(lambda unit: unit.members.set(member))
    assert await why(node, "ann", "insert", space="north", fields={"title": "x"}) is None
    assert await why(node, "ann", "insert", space="south") == "row-missing"
    assert await why(node, "ann", "insert", space="east") == "row-missing", "of another kind"


async def test_deleted_rows_are_not_read_and_may_come_back(node):
    ann = await node.device("ann")
    await ann.push(insert("item", "r1", title="x"))
    await ann.push(delete("item", "r1"))
    assert await why(node, "ann", "read") == "row-missing"
    assert await why(node, "ann", "restore") is None
    assert await why(node, "ann", "edit", row="nowhere") == "row-missing"


async def test_explaining_changes_nothing(node):
    ann = await node.device("ann")
    await ann.push(insert("item", "r1", title="x"))
    before = await node.rows(), await node.sql("SELECT * FROM sk_meta")
    await why(node, "ann", "delete")
    assert before == (await node.rows(), await node.sql("SELECT * FROM sk_meta"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"operation": "steal"},
        {"operation": "insert"},
        {"collection": "nothing"},
        {"row": "no id"},
        {"person": ""},
        {"space": "no id"},
    ],
)
async def test_what_cannot_be_asked_is_refused(node, wrong):
    asked = {"person": "ann", "operation": "read", "collection": "item", "row": "r1", **wrong}
    with pytest.raises(InvalidQuery):
        await node.tenant.explain.explain(**asked)
