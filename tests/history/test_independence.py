"""The checker is independent: it imports the wire's message types at most, and nothing that merges.

The recorders and the small run are tools and may import the product; the modules that decide may
not, nor may they import the tools.
"""

import ast
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
TOOLS = {"recorder", "server", "declaration", "small_run"}
ALLOWED = {"sync_protocol.messages", "msgspec"}


def deciding():
    """Return the modules that decide: all but tools and tests."""
    modules = [*FOLDER.glob("*.py"), *(FOLDER / "checks").glob("*.py")]
    return [m for m in modules if m.stem not in TOOLS and not m.stem.startswith("test_")]


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_allowed(name):
    if name.split(".")[0] in sys.stdlib_module_names:
        return True
    if name.startswith("tests.history."):
        return name.split(".")[2] not in TOOLS
    return any(name == allowed or name.startswith(f"{allowed}.") for allowed in ALLOWED)


def test_there_are_modules_to_look_at():
    assert {"checker", "tale", "ledger", "models", "lost", "access"} <= {m.stem for m in deciding()}


def test_what_decides_imports_nothing_of_the_engine():
    found = [
        f"{path.relative_to(FOLDER)} imports {name}"
        for path in deciding()
        for name in imports_of(path)
        if not is_allowed(name)
    ]
    assert found == []


def test_nothing_of_the_engine_is_loaded_by_the_checker():
    """Imports made by what is imported count too."""
    program = (
        "import sys, tests.history.checker\n"
        "print([n for n in sys.modules "
        "if n.split('.')[0] in {'core', 'edge', 'skerry_client', 'sync_protocol'}])"
    )
    root = FOLDER.parents[1]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
