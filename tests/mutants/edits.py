"""The edits of one function: where each replacement goes, and a name for it that outlives moves.

Not edited: docstrings, annotations, decorators, imports, asserts (they guard against our own
mistakes), f-strings (prose), what `cast` casts to, stubs that
a subclass defines, and `__repr__`.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from tests.mutants.replacements import replacements

Function = ast.FunctionDef | ast.AsyncFunctionDef
NAME_CHARACTERS_MAX: Final = 120
"""Longer changes are cut in the middle: a name has to be read, and copied into a list."""

_SKIPPED_FIELDS: Final = frozenset({"annotation", "returns", "decorator_list", "ctx", "op", "ops"})
_SKIPPED_NODES: Final = (ast.JoinedStr, ast.Assert, ast.Import, ast.ImportFrom)
_SKIPPED_FUNCTIONS: Final = frozenset({"__repr__"})


@dataclass(frozen=True, slots=True)
class Edit:
    """Puts `new` into `parent.field`, at `index` if that is a list.

    `lines` are the first and last line of what has to run for the edit to matter; `is_default`
    tells that it is in the defaults of the function's own parameters.
    """

    parent: ast.AST
    field: str
    index: int | None
    new: ast.AST
    name: str
    lines: tuple[int, int]
    is_default: bool

    def apply(self) -> Callable[[], None]:
        """Change the tree; return the function that changes it back."""
        if self.index is None:
            old = getattr(self.parent, self.field)
            setattr(self.parent, self.field, self.new)
            return lambda: setattr(self.parent, self.field, old)
        items: list[Any] = getattr(self.parent, self.field)
        index, old = self.index, items[self.index]
        items[index] = self.new
        return lambda: items.__setitem__(index, old)


def edits_of(function: Function) -> list[Edit]:
    """Return the edits of a function in the order of its source; equal names are numbered."""
    if function.name in _SKIPPED_FUNCTIONS or _is_stub(function):
        return []
    header = (function.lineno, function.end_lineno or function.lineno)
    found = list(_edits_below(function.args, [], header, is_default=True))
    for index, statement in enumerate(function.body):
        if index or not _is_docstring(statement):
            found += _edits_of_node(function, "body", index, statement, [], header, False)
    seen: Counter[str] = Counter()
    for index, edit in enumerate(found):
        seen[edit.name] += 1
        if seen[edit.name] > 1:
            found[index] = replace(edit, name=f"{edit.name}  #{seen[edit.name]}")
    return found


def _is_stub(function: Function) -> bool:
    """Whether a subclass has to define the function: all it does is to say so."""
    last = function.body[-1]
    name = getattr(last, "exc", None)
    return (
        len(function.body) <= 2
        and isinstance(name, ast.Name)
        and (name.id == "NotImplementedError")
    )


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _edits_below(
    node: ast.AST, context: list[ast.AST], lines: tuple[int, int], *, is_default: bool
) -> Iterator[Edit]:
    """Yield the edits of a node's children; `context` are the expressions around it."""
    context = [*context, node] if isinstance(node, ast.expr | ast.stmt) else context
    for field, value in ast.iter_fields(node):
        if field in _SKIPPED_FIELDS:
            continue
        children = list(enumerate(value)) if isinstance(value, list) else [(None, value)]
        for index, child in children:
            if isinstance(child, ast.AST) and not _is_type_of_cast(node, field, index):
                yield from _edits_of_node(node, field, index, child, context, lines, is_default)


def _edits_of_node(  # noqa: PLR0917  (a place in the tree)
    parent: ast.AST,
    field: str,
    index: int | None,
    node: ast.AST,
    context: list[ast.AST],
    lines: tuple[int, int],
    is_default: bool,
) -> Iterator[Edit]:
    if isinstance(node, _SKIPPED_NODES):
        return
    if isinstance(node, ast.stmt | ast.ExceptHandler):
        context, lines = [], _lines_of(node)
    shown = _shown(node, context)
    for new in replacements(node):
        edit = Edit(parent, field, index, new, "", lines, is_default)
        yield replace(edit, name=_name(edit, node, shown))
    yield from _edits_below(node, context, lines, is_default=is_default)


def _is_type_of_cast(node: ast.AST, field: str, index: int | None) -> bool:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        return False
    return node.func.id == "cast" and field == "args" and index == 0


def _lines_of(statement: ast.stmt | ast.ExceptHandler) -> tuple[int, int]:
    """Return the lines of a statement, of a compound one those of its head."""
    last = statement.end_lineno or statement.lineno
    body = getattr(statement, "body", None)
    if isinstance(body, list) and body:
        last = max(statement.lineno, body[0].lineno - 1)
    return statement.lineno, last


def _shown(node: ast.AST, context: list[ast.AST]) -> ast.AST:
    """Return what to show of a change: a lone constant or name says too little."""
    is_small = isinstance(node, ast.Constant | ast.Name | ast.Slice | ast.comprehension)
    return context[-1] if is_small and context else node


def _name(edit: Edit, node: ast.AST, shown: ast.AST) -> str:
    before = _text(shown)
    if shown is node:
        return f"{before} -> {_text(edit.new)}"
    undo = edit.apply()
    try:
        return f"{before} -> {_text(shown)}"
    finally:
        undo()


def _text(node: ast.AST) -> str:
    """Return a node as one line; of a compound statement its head."""
    if isinstance(node, ast.ExceptHandler):
        text = "except" if node.type is None else f"except {ast.unparse(node.type)}"
    else:
        text = ast.unparse(ast.fix_missing_locations(node)).split("\n")[0]
    if len(text) > NAME_CHARACTERS_MAX:
        half = NAME_CHARACTERS_MAX // 2
        text = f"{text[:half]} ... {text[-half:]}"
    return text
