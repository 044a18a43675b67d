"""No method of the identity databases touches another tenant, and every predicate is needed.

The second half deletes the tenant predicate from one statement at a time and requires that the
first half then fails: a statement that nobody checks cannot stay unnoticed.
"""

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

import edge.repositories
from edge.ports import identity_stores
from tests.edge.repositories.identity_cases import (
    BOTH,
    CASES,
    OF_ALL_TENANTS,
    OTHER_ONLY,
    Units,
    canary,
    seeded,
)

PREDICATE = "tenant = ?"
DIRECTIONS = [("tenant-a", "tenant-b"), ("tenant-b", "tenant-a")]
"""Both: a statement without its predicate finds the first tenant first."""
SOURCES = [
    path
    for folder in ("control", "vault")
    for path in sorted((Path(edge.repositories.__path__[0]) / folder).glob("*.py"))
]


def owned_tables(sql):
    names = sql.all("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
    columns = {name: sql.all(f"PRAGMA table_info({name})") for (name,) in names}
    return {
        name: [(column, place) for _, column, _, _, _, place in found]
        for name, found in columns.items()
        if any(column == "tenant" for _, column, *_ in found)
    }


def rows_of(sql, tenant):
    return {
        table: sorted(sql.all(f"SELECT * FROM {table} WHERE tenant = ?", (tenant,)))
        for table in owned_tables(sql)
    }


class World:
    """A database with both tenants, one with the acting one alone; each case is rolled back."""

    def __init__(self, acting, other):
        self.acting, self.other = acting, other
        self.shared = seeded(acting, other)
        self.alone = seeded(acting)
        self.before = rows_of(self.shared, other)

    def leaks(self, case, n):
        """Return what goes wrong when one call is made beside the other tenant."""
        expected = self._undone(self.alone, lambda: case.run(self.alone, self.acting, n))
        found, after, own = self._undone(
            self.shared,
            lambda: (
                case.run(self.shared, self.acting, n),
                rows_of(self.shared, self.other),
                rows_of(self.shared, self.acting),
            ),
        )
        if canary(self.other) in repr((found, own)):
            return f"{case} gave the other tenant's content"
        if found != expected:
            return f"{case} answered {found}, without the other tenant {expected}"
        if after != self.before:
            return f"{case} changed the other tenant's rows"
        return None

    def _undone(self, sql, work):
        sql.run("SAVEPOINT one_case")
        try:
            return work()
        finally:
            sql.run("ROLLBACK TO one_case")
            sql.run("RELEASE one_case")

    def close(self):
        self.shared.close()
        self.alone.close()


@pytest.fixture(scope="module")
def worlds():
    made = [World(*direction) for direction in DIRECTIONS]
    yield made
    for world in made:
        world.close()


def suffixes_of(case):
    """Adding again what is there already breaks a constraint: that is not about tenants."""
    return [OTHER_ONLY] if str(case) == "credentials.add" else [BOTH, OTHER_ONLY]


@pytest.fixture(scope="module")
def executed(worlds):
    """Statement -> the cases that run it, collected by running every case."""
    found = {}
    for case in CASES:
        for world in worlds:
            world.shared.seen.clear()
            for n in suffixes_of(case):
                world.leaks(case, n)
            for statement in world.shared.seen:
                found.setdefault(statement, set()).add(CASES.index(case))
    return found


def test_the_canaries_are_there(worlds):
    for world in worlds:
        for table, rows in world.before.items():
            assert rows, f"{table} is empty: nothing could leak from it"
        assert canary(world.other) in repr(world.before)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_call_for_one_tenant_leaves_the_other_alone(case, worlds):
    for world in worlds:
        for n in suffixes_of(case):
            assert world.leaks(case, n) is None


def store_protocols():
    """Store name -> Protocol, from the properties of both units."""
    for unit in (identity_stores.ControlUnit, identity_stores.VaultUnit):
        for name, member in vars(unit).items():
            if isinstance(member, property):
                yield name, getattr(identity_stores, member.fget.__annotations__["return"])


def public_methods(owner):
    return {
        name for name, member in inspect.getmembers(owner, inspect.isfunction) if name[0] != "_"
    }


def test_every_method_of_every_store_is_covered():
    covered = {(case.store, case.method) for case in CASES} | OF_ALL_TENANTS
    units = Units(seeded("tenant-a"))
    declared = {("vault", name) for name in public_methods(identity_stores.VaultUnit)}
    for store, protocol in store_protocols():
        for methods in (public_methods(protocol), public_methods(type(units[store]))):
            declared |= {(store, method) for method in methods}
    declared |= {("vault", name) for name in public_methods(type(units["vault"]))}
    assert declared == covered


def test_what_is_of_all_tenants_takes_no_tenant():
    protocols = dict(store_protocols())
    for store, method in OF_ALL_TENANTS:
        parameters = inspect.signature(getattr(protocols[store], method)).parameters
        assert "tenant" not in parameters, (store, method)
        assert store in ("keys", "nodes", "joins") or "record" not in parameters, (store, method)


def test_c1_the_tenant_is_first_in_every_primary_key(worlds):
    tables = owned_tables(worlds[0].shared)
    assert len(tables) == 9
    for table, columns in tables.items():
        assert ("tenant", 1) in columns, table


def test_every_statement_of_a_case_names_its_tenant(executed, worlds):
    tables = "|".join(owned_tables(worlds[0].shared))
    for statement in executed:
        for _ in re.finditer(rf"(?:FROM|UPDATE) (?:{tables})\b", statement):
            assert PREDICATE in statement, statement


def statements_of(path):
    """Return the texts in a source file that hold the predicate, as they are at run time."""
    name = "edge.repositories." + ".".join(path.with_suffix("").parts[-2:])
    module = importlib.import_module(name)
    texts = []

    class Texts(ast.NodeVisitor):
        def visit_JoinedStr(self, node):
            self._keep(node)

        def visit_Constant(self, node):
            self._keep(node)

        def _keep(self, node):
            if PREDICATE in ast.unparse(node):
                code = compile(ast.Expression(node), str(path), "eval")
                texts.append(eval(code, vars(module)))

    Texts().visit(ast.parse(path.read_text()))
    return texts


def test_every_predicate_in_the_sources_is_executed(executed):
    for path in SOURCES:
        texts = statements_of(path)
        assert sum(text.count(PREDICATE) for text in texts) == path.read_text().count(PREDICATE)
        for text in texts:
            assert text in executed, f"no case runs this statement of {path.name}: {text}"


def mutants(statement):
    """Return the statement with one of its predicates deleted, for each."""
    for found in re.finditer(re.escape(PREDICATE), statement):
        yield statement[: found.start()] + "? IS NOT NULL" + statement[found.end() :]


def is_caught(worlds, statement, mutant, cases):
    for world in worlds:
        world.shared.rewrite = {statement: mutant}
        world.shared.rewritten = 0
        try:
            if any(world.leaks(CASES[i], n) for i in cases for n in suffixes_of(CASES[i])):
                return True
            assert world.shared.rewritten, "the mutant never ran"
        finally:
            world.shared.rewrite = {}
    return False


def test_deleting_any_tenant_predicate_is_caught(worlds, executed):
    survivors, count = [], 0
    ours = {text for path in SOURCES for text in statements_of(path)}
    for statement in ours:
        for mutant in mutants(statement):
            count += 1
            if not is_caught(worlds, statement, mutant, executed[statement]):
                survivors.append(mutant)
    assert survivors == []
    assert count >= len(ours) > 30
