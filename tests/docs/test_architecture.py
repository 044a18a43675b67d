"""docs/ARCHITECTURE.md names files, functions and invariants that exist."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "ARCHITECTURE.md").read_text("utf-8")
HOP = re.compile(r"^\| (\d+) \| `([^`]+)` \| `([^`]+)` \|", re.MULTILINE)
PATH = re.compile(r"`((?:core|sync_protocol|edge|clients|tests)/[\w./]*)`")
INVARIANTS = re.compile(r"^\| ([A-Z])1-\1(\d) \| `([^`]+)` \|", re.MULTILINE)
STATED = re.compile(r"^  ([A-Z])(\d{1,2})  ", re.MULTILINE)
WALKS = {"write": 10, "read": 7, "pull": 7}


def walk(name: str) -> list[tuple[str, str, str]]:
    section = TEXT.split(f"## The walk of one {name}\n")[1].split("\n## ")[0]
    return HOP.findall(section)


@cache
def functions_of(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    found = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {
                f"{node.name}.{inner.name}"
                for inner in node.body
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef)
            }
    return frozenset(found)


@pytest.mark.parametrize(("name", "hops"), WALKS.items())
def test_a_walk_has_its_hops_in_order(name, hops):
    assert [int(number) for number, _, _ in walk(name)] == list(range(1, hops + 1))


@pytest.mark.parametrize(("path", "function"), [hop[1:] for name in WALKS for hop in walk(name)])
def test_every_hop_exists(path, function):
    assert function in functions_of(path)


@pytest.mark.parametrize("path", sorted(set(PATH.findall(TEXT))))
def test_every_path_exists(path):
    assert (ROOT / path).exists()


@pytest.mark.parametrize(
    "name", sorted({n for n in re.findall(r"`(\w+\.\w+)`", TEXT) if n[0].isupper()})
)
def test_every_named_method_exists(name):
    sources = [
        p
        for top in ("core", "sync_protocol", "edge", "clients")
        for p in (ROOT / top).rglob("*.py")
    ]
    assert any(name in functions_of(str(path.relative_to(ROOT))) for path in sources)


def test_every_stated_invariant_is_listed():
    stated = {}
    for top in ("core", "sync_protocol", "edge", "clients"):
        for path in (ROOT / top).rglob("*.py"):
            document = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
            for letter, number in STATED.findall(document):
                key = (letter, str(path.relative_to(ROOT)))
                stated[key] = max(stated.get(key, 0), int(number))
    listed = {(letter, path): int(last) for letter, last, path in INVARIANTS.findall(TEXT)}
    assert listed == stated


@pytest.mark.parametrize(
    ("path", "name", "text"),
    [
        ("edge/services/ingest/service.py", "QUEUE_MUTATIONS_MAX", "50,000"),
        ("edge/services/ingest/service.py", "GROUP_MUTATIONS_MAX", "10,000"),
        ("edge/services/live.py", "POKE_ROWS_MAX", "2,000"),
        ("core/compensate.py", "DERIVED_MAX", "10,000"),
        ("edge/services/maintenance.py", "RECEIPTS_KEPT", "50,000"),
        ("edge/services/maintenance.py", "LOG_ENTRIES_KEPT", "100,000"),
        ("core/crdt/dots.py", "ENTRIES_MAX", "1,000"),
        ("clients/python/skerry_client/driver.py", "MUTATIONS_PER_PUSH_MAX", "1,000"),
        ("sync_protocol/limits.py", "MUTATIONS_PER_PUSH_MAX", "5,000"),
        ("sync_protocol/limits.py", "CHANGES_PER_MUTATION_MAX", "1,000"),
        ("sync_protocol/limits.py", "ROWS_PER_PAGE_MAX", "10,000"),
        ("sync_protocol/limits.py", "STREAM_QUEUE_FRAMES_MAX", "64"),
    ],
)
def test_bounds_are_the_code_s(path, name, text):
    value = re.search(rf"^{name}: Final = ([\d_]+)", (ROOT / path).read_text("utf-8"), re.MULTILINE)
    assert value is not None
    assert f"{int(value[1]):,}" == text
    assert any(text in line and f"`{path}`" in line for line in TEXT.splitlines())
