"""The import contracts hold, and a planted import breaks the contract that forbids it."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "core",
    "sync_protocol",
    "conformance",
    "edge",
    "clients/python/skerry_client",
    "clients/python/skerry_testing",
)

PLANTS = [
    ("sync_protocol", "edge", "edge -> sync_protocol -> core"),
    ("core", "sync_protocol", "edge -> sync_protocol -> core"),
    ("core", "msgspec", "Core is standard library only"),
    ("sync_protocol", "asyncio", "The protocol is sans-IO"),
    ("clients/python/skerry_client", "edge", "Client and server never import each other"),
    ("clients/python/skerry_testing", "edge", "The public testing module stands on core"),
    ("edge/services", "litestar", "Litestar stays out of services"),
    ("edge/services", "edge.storage", "Services know ports only"),
    ("edge/controllers", "edge.repositories", "Controllers and workers never reach past services"),
    ("edge/repositories", "aiosqlite", "Only edge.storage imports database drivers"),
    ("edge/repositories", "edge.services", "Repositories, storage and gateways know ports"),
    ("edge/ports", "edge.services", "services > ports"),
    ("conformance", "edge", "edge -> sync_protocol -> core"),
    ("conformance", "skerry_client", "The conformance kit and the client never import each other"),
    ("edge/services", "conformance", "Only its command imports the conformance kit"),
]


@pytest.fixture
def house(tmp_path):
    """A copy of the packages and their contracts, free to be spoiled."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in PACKAGES:
        without_caches = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=without_caches)
    return tmp_path


def lint(house):
    path = os.pathsep.join([str(house), str(house / "clients/python")])
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=house,
        env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_contracts_hold(house):
    result = lint(house)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(("package", "imported", "contract"), PLANTS)
def test_planted_import_breaks_its_contract(house, package, imported, contract):
    (house / package / "planted.py").write_text(f'"""Planted."""\n\nimport {imported}\n')
    result = lint(house)
    broken = [line for line in result.stdout.splitlines() if " BROKEN" in line]
    assert result.returncode == 1, result.stdout + result.stderr
    assert any(contract in line for line in broken), result.stdout
    assert ".planted -> " in result.stdout


def test_storage_may_import_drivers(house):
    (house / "edge/storage/planted.py").write_text('"""Planted."""\n\nimport aiosqlite\n')
    assert lint(house).returncode == 0


def imported_roots(module):
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


def test_core_imports_the_standard_library_only():
    for path in (ROOT / "core").rglob("*.py"):
        foreign = set(imported_roots(ast.parse(path.read_text()))) - {"core"}
        assert foreign <= sys.stdlib_module_names, path
