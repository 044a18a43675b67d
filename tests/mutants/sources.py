"""The faults of one source file, and planting them in the running process.

A fault in a function replaces the code of the live function object, so that every reference to it
changes too. A fault in a table (a dict of a module) drops one entry of the live dict.
"""

from __future__ import annotations
import __future__

import ast
import gc
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, Final

from tests.mutants.edits import Edit, Function, edits_of

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGES: Final = ("core", "sync_protocol")
_FLAGS: Final = __future__.annotations.compiler_flag


@dataclass(frozen=True, slots=True)
class Fault:
    """One systematic fault; `identity` names it in the list of survivors and in caches."""

    file: str
    function: str
    mutation: str
    lines: tuple[int, int]
    """A test matters when it runs one of these lines."""

    code: CodeType | None = None
    defaults: CodeType | None = None
    """Defines the function with changed defaults."""

    entry: Any = None
    """The key to drop from the table `function`."""

    @property
    def identity(self) -> tuple[str, str, str]:
        """What stays when other lines of the file move."""
        return self.file, self.function, self.mutation

    @property
    def package(self) -> str:
        """The top package."""
        return self.file.split("/", 1)[0]


NONE: Final = Fault("", "", "", (0, 0))
"""No fault at all: every test must pass with it."""


def files(packages: Iterable[str] = PACKAGES) -> list[str]:
    """Return the source files, by path from the root."""
    found = (path for package in packages for path in (ROOT / package).rglob("*.py"))
    return sorted(str(path.relative_to(ROOT)) for path in found)


class Source:
    """One source file: its functions, and the faults they may have."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.path = str(ROOT / file)
        self.tree = ast.parse(Path(self.path).read_text("utf-8"))

    def faults(self, live: LiveFunctions) -> Iterator[Fault]:
        """Yield every fault that compiles."""
        for function, classes in _functions(self.tree, ()):
            name = ".".join([*(declared.name for declared in classes), function.name])
            target = live.find(self.path, name, function)
            if target is None:
                continue
            for edit in edits_of(function):
                fault = self._fault(function, classes, name, edit, target)
                if fault is not None:
                    yield fault

    def tables(self) -> Iterator[Fault]:
        """Yield the loss of each entry of each dict that the module assigns."""
        names = _globals_of(self.file)
        for statement in self.tree.body:
            target = getattr(statement, "target", None) or getattr(statement, "targets", [None])[0]
            value = getattr(statement, "value", None)
            if not isinstance(target, ast.Name) or value is None:
                continue
            table = names.get(target.id)
            if not isinstance(table, dict) or isinstance(value, ast.Name):
                continue
            lines = (statement.lineno, statement.end_lineno or statement.lineno)
            for key in table:
                yield Fault(self.file, target.id, f"without {_key_name(key)}", lines, entry=key)

    def _fault(
        self,
        function: Function,
        classes: tuple[ast.ClassDef, ...],
        name: str,
        edit: Edit,
        target: FunctionType,
    ) -> Fault | None:
        undo = edit.apply()
        try:
            compiled = _compiled(function, classes, target, self.path)
        except (SyntaxError, ValueError):
            return None
        finally:
            undo()
        if edit.is_default:
            return Fault(self.file, name, edit.name, edit.lines, defaults=compiled)
        code = _code_in(compiled, [*(declared.name for declared in classes), function.name])
        if code.co_freevars != target.__code__.co_freevars:
            return None
        return Fault(self.file, name, edit.name, edit.lines, code=code)


class LiveFunctions:
    """The function objects of this process that come from the packages under test."""

    def __init__(self, paths: Iterable[str]) -> None:
        wanted = set(paths)
        self._found: dict[tuple[str, str], list[FunctionType]] = {}
        for item in gc.get_objects():
            if type(item) is FunctionType and item.__code__.co_filename in wanted:
                key = (item.__code__.co_filename, item.__code__.co_qualname)
                self._found.setdefault(key, []).append(item)

    def find(self, path: str, name: str, function: Function) -> FunctionType | None:
        """Return the live object of a definition."""
        first = min([function.lineno, *(item.lineno for item in function.decorator_list)])
        for item in self._found.get((path, name), ()):
            if item.__code__.co_firstlineno == first:
                return item
        return None

    def users_of(self, name: str) -> list[CodeType]:
        """Return the code of the functions that read a global name."""
        return [
            item.__code__
            for items in self._found.values()
            for item in items
            if name in item.__code__.co_names
        ]

    def plant(self, fault: Fault) -> None:
        """Put a fault into this process, for good."""
        if fault is NONE:
            return
        if fault.entry is not None:
            del _globals_of(fault.file)[fault.function][fault.entry]
            return
        path = str(ROOT / fault.file)
        for item in self._found[path, fault.function]:
            if fault.code is not None:
                if item.__code__.co_freevars == fault.code.co_freevars:
                    item.__code__ = fault.code
            else:
                assert fault.defaults is not None
                _take_defaults(item, fault)


def _take_defaults(target: FunctionType, fault: Fault) -> None:
    """Define the function anew beside the live one, and take over the defaults."""
    assert fault.defaults is not None
    names = {**target.__globals__}
    exec(fault.defaults, names)
    made: Any = names
    for part in fault.function.split("."):
        made = made[part] if isinstance(made, dict) else vars(made)[part]
    made = getattr(made, "__func__", made)
    target.__defaults__ = made.__defaults__
    target.__kwdefaults__ = made.__kwdefaults__


def _functions(
    node: ast.AST, classes: tuple[ast.ClassDef, ...]
) -> Iterator[tuple[Function, tuple[ast.ClassDef, ...]]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function):
            yield child, classes
        elif isinstance(child, ast.ClassDef):
            yield from _functions(child, (*classes, child))
        elif isinstance(child, ast.If | ast.Try):
            yield from _functions(child, classes)


def _compiled(
    function: Function, classes: tuple[ast.ClassDef, ...], target: FunctionType, path: str
) -> CodeType:
    """Compile a function, without its decorators, inside classes of the same names."""
    body = list(function.body)
    if "__class__" in target.__code__.co_freevars:
        # A dropped call of super() must not drop the cell that the live function has.
        body.append(ast.If(ast.Constant(0), [ast.Expr(ast.Name("__class__", ast.Load()))], []))
    plain = type(function)(
        name=function.name, args=function.args, body=body, decorator_list=[], returns=None
    )
    nest: Any = ast.copy_location(plain, function)
    for declared in reversed(classes):
        outer = ast.ClassDef(declared.name, bases=[], keywords=[], body=[nest], decorator_list=[])
        nest = ast.copy_location(outer, function)
    module = ast.fix_missing_locations(ast.Module([nest], []))
    return compile(module, path, "exec", flags=_FLAGS, dont_inherit=True)


def _code_in(code: CodeType, names: list[str]) -> CodeType:
    for name in names:
        code = next(
            item for item in code.co_consts if isinstance(item, CodeType) and item.co_name == name
        )
    return code


def _globals_of(file: str) -> dict[str, Any]:
    """Return the names of the module that a file was imported as."""
    path = str(ROOT / file)
    for module in [*sys.modules.values()]:
        if getattr(module, "__file__", None) == path:
            return vars(module)
    return {}


def _key_name(key: Any) -> str:
    """Return a key of a table as words that stay the same from run to run."""
    if isinstance(key, tuple):
        return ", ".join(map(_key_name, key))
    return key.__name__ if isinstance(key, type) else str(key)
