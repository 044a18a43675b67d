"""Every check of `tidy` finds a planted violation and passes its clean neighbour."""

from pathlib import PurePosixPath

import pytest

from tests.architecture import tidy

TREE = tidy.with_folders([PurePosixPath("docs/CRDTS.md"), PurePosixPath("docs/adr/0001-x.md")])
# Put together from parts, so that this file does not break the rules that it plants.
MARK = "TO" + "DO"
HOME = "/" + "home/ada/skerry"
HOST = "https://py" + "pi.org/simple"
STATEMENT = 'QUERY = "' + "SELECT" + ' name FROM airfield"\n'
FUNCTION = "def f():\n" + "    x = 1\n" * tidy.FUNCTION_LINES_MAX

PLANTED = [
    (tidy.long_file, "core/a.py", "x = 1\n" * 401),
    (tidy.long_function, "core/a.py", FUNCTION),
    (tidy.long_function, "core/a.py", "async " + FUNCTION),
    (tidy.vague_name, "core/utils.py", ""),
    (tidy.vague_name, "edge/common/row.py", ""),
    (tidy.unfinished_mark, "docs/a.md", f"Later ({MARK})."),
    (tidy.machine_path, "core/a.py", f'PATH = "{HOME}"'),
    (tidy.registry_host, "requirements.lock", f"--index-url {HOST}"),
    (tidy.missing_module_docstring, "core/a.py", "x = 1\n"),
    (tidy.sql_outside_persistence, "edge/services/a.py", STATEMENT),
    (tidy.sql_outside_persistence, "edge/app.py", 'Q = f"' + "DELETE" + ' FROM {table}"'),
    (tidy.sql_outside_persistence, "edge/app.py", 'Q = "' + "PRAGMA" + ' journal_mode"'),
    (tidy.dead_link, "docs/a.md", "See [types](CRDT.md)."),
    (tidy.dead_link, "docs/a.md", "See [types][t].\n\n[t]: ../CRDTS.md"),
    (tidy.dead_link, "docs/a.md", "[outside](../../other/README.md)"),
]

CLEAN = [
    (tidy.long_file, "core/a.py", "x = 1\n" * 400),
    (tidy.long_file, "tests/a.py", "x = 1\n" * 401),
    (tidy.long_function, "core/a.py", FUNCTION.removesuffix("    x = 1\n")),
    (tidy.vague_name, "core/clock.py", ""),
    (tidy.unfinished_mark, "docs/a.md", "Nothing is left to do."),
    (tidy.machine_path, "docs/a.md", "GET https://example.org/work/items and ./home/file"),
    (tidy.registry_host, "docs/a.md", "https://www.python.org"),
    (tidy.missing_module_docstring, "core/__init__.py", ""),
    (tidy.missing_module_docstring, "core/a.py", '"""Clock."""\nx = 1\n'),
    (tidy.sql_outside_persistence, "edge/storage/a.py", STATEMENT),
    (tidy.sql_outside_persistence, "edge/storage/migrations/a.py", STATEMENT),
    (tidy.sql_outside_persistence, "clients/python/skerry_client/store.py", STATEMENT),
    (tidy.sql_outside_persistence, "clients/python/skerry_client/store/rows.py", STATEMENT),
    (tidy.sql_outside_persistence, "edge/app.py", 'HELP = "DELETE /accounts/{id}"'),
    (tidy.sql_outside_persistence, "edge/app.py", 'HELP = "Select a region"'),
    (tidy.dead_link, "docs/a.md", "[a](CRDTS.md#laws) [b](adr/) [c](/docs/CRDTS.md) [d](#here)"),
    (tidy.dead_link, "docs/a.md", "[site](https://example.org) `[x](y.md)`\n```\n[x](y.md)\n```"),
]


@pytest.mark.parametrize(("check", "path", "text"), PLANTED)
def test_planted_violation_is_found(check, path, text):
    file = tidy.SourceFile(PurePosixPath(path), text)
    assert list(check(file, TREE))


@pytest.mark.parametrize(("check", "path", "text"), CLEAN)
def test_clean_neighbour_passes(check, path, text):
    file = tidy.SourceFile(PurePosixPath(path), text)
    assert not list(check(file, TREE))


def test_every_check_has_a_planted_violation():
    assert {check for check, _, _ in PLANTED} == set(tidy.CHECKS)


def test_findings_name_file_and_line():
    files = [tidy.SourceFile(PurePosixPath("core/a.py"), f'"""A."""\n# {MARK}\n')]
    assert [str(finding) for finding in tidy.findings(files, TREE)] == [
        f"core/a.py:2: unfinished mark: {MARK}"
    ]
