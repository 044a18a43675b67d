"""Drawn apps are valid, can be stored, and have every feature often enough."""

import json
import sqlite3
from collections import Counter as Tally

from hypothesis import Phase, given, settings

from core import Operation
from core.crdt.registry import SAMPLES
from core.policy import decide
from edge.repositories.sql.table import Table
from skerry_testing import apps


@given(apps())
def test_an_app_describes_itself_and_has_tables(app):
    assert json.loads(json.dumps(app.describe())) == app.describe()
    with sqlite3.connect(":memory:") as database:
        for declared in app.collections.values():
            for statement in Table(declared).ddl():
                database.execute(statement)


@given(apps())
def test_somebody_may_do_everything(app):
    for declared in app.collections.values():
        owner = app.spaces[declared.space_kind][0]
        for operation in Operation:
            names = declared.fields if operation in (Operation.INSERT, Operation.EDIT) else ()
            assert (
                decide(
                    declared.access, declared.fields, role=owner, operation=operation, written=names
                )
                is None
            )


@given(apps(kinds=["flag"], collections_max=1))
def test_arguments_bound_an_app(app):
    (declared,) = app.collections.values()
    assert {field.kind for field in declared.fields.values()} <= {"flag", "lww"}, "links are lww"


def test_apps_have_every_feature():
    seen = Tally()

    @settings(max_examples=300, derandomize=True, database=None, phases=[Phase.generate])
    @given(apps())
    def count(app):
        seen["apps"] += 1
        seen["several roles"] += any(len(roles) > 1 for roles in app.spaces.values())
        seen["several spaces"] += len(app.spaces) > 1
        collections = app.collections.values()
        seen["several collections"] += len(collections) > 1
        seen["edit wins"] += any(declared.edit_wins for declared in collections)
        seen["unique"] += any(declared.unique for declared in collections)
        for name in {
            f"on delete {reference.on_delete}"
            for declared in collections
            for reference in declared.references
        }:
            seen[name] += 1
        fields = [field for declared in collections for field in declared.fields.values()]
        seen["write roles"] += any(field.write for field in fields)
        for kind in {field.kind for field in fields}:
            seen[kind] += 1

    count()
    named = {"several roles", "several spaces", "several collections", "edit wins", "unique"}
    named |= {"write roles", "on delete reject", "on delete cascade", "on delete clear"}
    for name in named | set(SAMPLES):
        assert seen[name] > seen["apps"] * 0.05, (name, seen)
