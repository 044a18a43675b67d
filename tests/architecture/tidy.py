"""House rules that no linter knows; `make check` runs them over every file git would keep.

Each check is a pure function from one file to its findings, listed in `CHECKS`.
`test_tidy.py` plants one violation of each.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from posixpath import normpath
from urllib.parse import unquote

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A text file, by its path from the root of the repository."""

    path: PurePosixPath
    text: str

    def is_under(self, *folders: str) -> bool:
        """Whether the file is one of these files or lies in one of these folders."""
        return any(self.path.is_relative_to(folder) for folder in folders)


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken rule, where it is broken."""

    path: PurePosixPath
    line: int
    message: str

    def __str__(self) -> str:
        """Format as editors and terminals expect it."""
        return f"{self.path}:{self.line}: {self.message}"


Tree = frozenset[PurePosixPath]
Check = Callable[[SourceFile, Tree], Iterator[Finding]]

VAGUE_NAMES = frozenset({"utils", "util", "helpers", "helper", "common", "misc", "manager"})
# The one-letter classes keep this pattern from finding itself.
UNFINISHED = re.compile(r"\b(?:TO[D]O|FIX[M]E|XX[X]|HA[C]K)\b")
MACHINE_PATH = re.compile(
    r"(?<![\w.:/-])/(?:home|root|Users|work|opt/wheels)/\w|\b[A-Z]:\\+Users\b"
)
REGISTRY_HOST = re.compile(
    r"\b(?:(?:pypi|pythonhosted|npmjs|yarnpkg)\.(?:org|com)|(?:deb\.debian|crates)\.(?:org|io))\b"
)
# Upper case followed by the word that makes it a statement: "DELETE /path" and prose are not SQL.
SQL_STATEMENT = re.compile(
    r"\s*(?:SELECT\s|INSERT\s+(?:OR|INTO)\b|REPLACE\s+INTO\b|UPDATE\s+\S|DELETE\s+FROM\b|WITH\s+\S+\s+AS\b"
    r"|(?:CREATE|DROP|ALTER)\s+(?:TABLE|INDEX|UNIQUE|VIEW|TRIGGER|VIRTUAL|TEMP)\b|PRAGMA\s+\w)"
)
SQL_HOMES = ("edge/storage", "edge/repositories", "clients/python/skerry_client/store")
MARKDOWN_LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
MARKDOWN_REFERENCE = re.compile(r"^ {0,3}\[[^\]^]+\]:\s*<?([^\s>]+)>?")
MARKDOWN_CODE = re.compile(r"`[^`]*`")


def long_file(file: SourceFile, _tree: Tree) -> Iterator[Finding]:
    """A long module is a sign that a concept is missing; tests and bench may be long."""
    line_count = len(file.text.splitlines())
    if (
        file.path.suffix == ".py"
        and not file.is_under("tests", "bench")
        and line_count > FILE_LINES_MAX
    ):
        yield Finding(file.path, line_count, f"{line_count} lines; at most {FILE_LINES_MAX}")


def long_function(file: SourceFile, _tree: Tree) -> Iterator[Finding]:
    """A function fits on one screen."""
    for node in _nodes(file):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            line_count = (node.end_lineno or node.lineno) - node.lineno + 1
            if line_count > FUNCTION_LINES_MAX:
                message = f"{node.name} has {line_count} lines; at most {FUNCTION_LINES_MAX}"
                yield Finding(file.path, node.lineno, message)


def vague_name(file: SourceFile, _tree: Tree) -> Iterator[Finding]:
    """A file is named after the noun it owns."""
    for part in (*file.path.parent.parts, file.path.stem):
        if part.lower() in VAGUE_NAMES:
            yield Finding(file.path, 1, f"'{part}' names no concept")


def unfinished_mark(file: SourceFile, _tree: Tree) -> Iterator[Finding]:
    """What is unfinished is not kept as a mark in a file."""
    yield from _matching_lines(file, UNFINISHED, "unfinished mark")


def machine_path(file: SourceFile, _tree: Tree) -> Iterator[Finding]:
    """A path of somebody's machine means nothing on another one."""
    yield from _matching_lines(file, MACHINE_PATH, "absolute path of one machine")


def registry_host(file: SourceFile, _tree: Tree) -> Iterator[Finding]:
    """Where packages come from is configured outside the repository."""
    yield from _matching_lines(file, REGISTRY_HOST, "host of a package registry")


def missing_module_docstring(file: SourceFile, _tree: Tree) -> Iterator[Finding]:
    """A module says what it is for; an empty one needs no words."""
    module = _parsed(file)
    if module is not None and module.body and ast.get_docstring(module) is None:
        yield Finding(file.path, 1, "module docstring is missing")


def sql_outside_persistence(file: SourceFile, _tree: Tree) -> Iterator[Finding]:
    """SQL lives in repositories, storage and migrations; tests and bench may speak it."""
    others = ("clients/python/skerry_client/store.py", "examples/field_survey/fleet_nodes.py")
    if file.is_under(*SQL_HOMES, "tests", "bench", *others):
        return
    if "migrations" in file.path.parts:
        return
    for node in _nodes(file):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and SQL_STATEMENT.match(node.value)
        ):
            yield Finding(file.path, node.lineno, "SQL outside repositories and storage")


def dead_link(file: SourceFile, tree: Tree) -> Iterator[Finding]:
    """A relative link in a Markdown file leads to a file or folder of the repository."""
    if file.path.suffix != ".md":
        return
    is_code = False
    for number, line in enumerate(file.text.splitlines(), 1):
        if line.lstrip().startswith(("```", "~~~")):
            is_code = not is_code
        if is_code:
            continue
        prose = MARKDOWN_CODE.sub("", line)
        for target in MARKDOWN_LINK.findall(prose) + MARKDOWN_REFERENCE.findall(prose):
            if not _resolves(file.path, target, tree):
                yield Finding(file.path, number, f"link leads nowhere: {target}")


CHECKS: tuple[Check, ...] = (
    long_file,
    long_function,
    vague_name,
    unfinished_mark,
    machine_path,
    registry_host,
    missing_module_docstring,
    sql_outside_persistence,
    dead_link,
)


def findings(files: list[SourceFile], tree: Tree) -> list[Finding]:
    """Run every check over every file."""
    return [finding for file in files for check in CHECKS for finding in check(file, tree)]


def kept_paths(root: Path) -> list[PurePosixPath]:
    """List what git tracks, and what it would track because no ignore rule covers it."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, check=True, capture_output=True).stdout
    names = sorted({name for name in listed.decode().split("\0") if name})
    return [PurePosixPath(name) for name in names if (root / name).is_file()]


def read_files(root: Path, paths: list[PurePosixPath]) -> list[SourceFile]:
    """Read the files that are text; binary ones have no lines to check."""
    files: list[SourceFile] = []
    for path in paths:
        content = (root / path).read_bytes()
        if b"\0" not in content:
            files.append(SourceFile(path, content.decode("utf-8", errors="replace")))
    return files


def _parsed(file: SourceFile) -> ast.Module | None:
    if file.path.suffix != ".py":
        return None
    try:
        return ast.parse(file.text)
    except SyntaxError:
        return None  # The linter reports it, with a better message.


def _nodes(file: SourceFile) -> Iterator[ast.AST]:
    module = _parsed(file)
    if module is not None:
        yield from ast.walk(module)


def _matching_lines(file: SourceFile, pattern: re.Pattern[str], message: str) -> Iterator[Finding]:
    for number, line in enumerate(file.text.splitlines(), 1):
        if match := pattern.search(line):
            yield Finding(file.path, number, f"{message}: {match.group()}")


def _resolves(source: PurePosixPath, target: str, tree: Tree) -> bool:
    address = unquote(target.partition("#")[0])
    if not address or re.match(r"[a-zA-Z][a-zA-Z+.-]*:", address):
        return True
    start = "" if address.startswith("/") else str(source.parent)
    path = PurePosixPath(normpath(f"{start}/{address}".lstrip("/")))
    return path == PurePosixPath() or path in tree


def with_folders(paths: list[PurePosixPath]) -> Tree:
    """Add the folders that hold the files."""
    return frozenset(paths) | {folder for path in paths for folder in path.parents}


def main() -> int:
    """Print the findings; the exit code says whether there are any."""
    paths = kept_paths(ROOT)
    broken = findings(read_files(ROOT, paths), with_folders(paths))
    for finding in broken:
        print(finding)
    print(f"tidy: {len(broken)} findings in {len(paths)} files")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
