"""What may stand in place of one node of a syntax tree: the mutators, one function per node type.

Each takes a node and yields other nodes for its place; none changes its argument. Texts with a
space are prose and stay as they are.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

_COMPARISONS: Final[Mapping[type[ast.cmpop], tuple[type[ast.cmpop], ...]]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: Final[Mapping[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
}
_FUNCTIONS: Final = {"min": "max", "max": "min", "any": "all", "all": "any", "sorted": "list"}
_METHODS: Final = frozenset({"casefold", "copy", "lower", "lstrip", "rstrip", "strip", "upper"})
"""Methods without arguments whose result resembles what they were called on."""


def replacements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what may stand in place of a node."""
    for mutator in _MUTATORS.get(type(node), ()):
        yield from mutator(node)


def changed(node: Any, **fields: Any) -> Any:
    """Return a shallow copy of a node with other fields."""
    other = copy.copy(node)
    for name, value in fields.items():
        setattr(other, name, value)
    return other


def without(items: list[Any], index: int) -> list[Any]:
    """Return a list less one item."""
    return [*items[:index], *items[index + 1 :]]


def negated(test: ast.expr) -> Iterator[ast.expr]:
    """Negate a condition, unless one of its own mutators does."""
    is_single = isinstance(test, ast.Compare) and len(test.ops) == 1
    if not is_single and not isinstance(test, ast.UnaryOp):
        yield ast.UnaryOp(ast.Not(), test)


def _compare(node: ast.Compare) -> Iterator[ast.AST]:
    for index, operator in enumerate(node.ops):
        for other in _COMPARISONS[type(operator)]:
            yield changed(node, ops=[*node.ops[:index], other(), *node.ops[index + 1 :]])
    right = node.comparators[0]
    if isinstance(node.left, ast.Tuple) and isinstance(right, ast.Tuple):
        for index in range(len(node.left.elts)):
            yield changed(
                node,
                left=changed(node.left, elts=without(node.left.elts, index)),
                comparators=[changed(right, elts=without(right.elts, index))],
            )


def _and_or(node: ast.BoolOp) -> Iterator[ast.AST]:
    yield changed(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
    for index in range(len(node.values)):
        rest = without(node.values, index)
        yield rest[0] if len(rest) == 1 else changed(node, values=rest)


def _unary(node: ast.UnaryOp) -> Iterator[ast.AST]:
    if not isinstance(node.op, ast.UAdd):
        yield node.operand


def _binary(node: ast.BinOp) -> Iterator[ast.AST]:
    yield changed(node, op=_ARITHMETIC[type(node.op)]())
    if isinstance(node.op, ast.BitOr | ast.BitAnd):
        yield node.left
        yield node.right


def _constant(node: ast.Constant) -> Iterator[ast.AST]:
    value = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int):
        yield ast.Constant(value + 1)
        yield ast.Constant(value - 1)
    elif isinstance(value, float):
        yield ast.Constant(value + 1.0)
    elif isinstance(value, bytes):
        yield ast.Constant(value + b"~")
    elif isinstance(value, str) and not any(map(str.isspace, value)):
        yield ast.Constant(value + "~")


def _either_branch(node: ast.IfExp) -> Iterator[ast.AST]:
    yield node.body
    yield node.orelse


def _condition(node: Any) -> Iterator[ast.AST]:
    for test in negated(node.test):
        yield changed(node, test=test)


def _call(node: ast.Call) -> Iterator[ast.AST]:
    for index in range(len(node.keywords)):
        yield changed(node, keywords=without(node.keywords, index))
    if isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS:
        other = ast.Name(_FUNCTIONS[node.func.id], ast.Load())
        keywords = [] if other.id == "list" else node.keywords
        yield changed(node, func=other, keywords=keywords)
    if isinstance(node.func, ast.Attribute) and node.func.attr in _METHODS and not node.args:
        yield node.func.value


def _unfiltered(node: ast.comprehension) -> Iterator[ast.AST]:
    for index in range(len(node.ifs)):
        yield changed(node, ifs=without(node.ifs, index))


def _entries(node: ast.Dict) -> Iterator[ast.AST]:
    for index in range(len(node.keys)):
        yield changed(node, keys=without(node.keys, index), values=without(node.values, index))


def _elements(node: ast.Set) -> Iterator[ast.AST]:
    for index in range(len(node.elts)):
        rest = without(node.elts, index)
        yield changed(node, elts=rest) if rest else ast.Tuple([], ast.Load())


def _bounds(node: ast.Slice) -> Iterator[ast.AST]:
    for bound in ("lower", "upper"):
        if getattr(node, bound) is not None:
            yield changed(node, **{bound: None})


def _uncaught(node: ast.ExceptHandler) -> Iterator[ast.AST]:
    yield changed(node, type=ast.Tuple([], ast.Load()))
    if isinstance(node.type, ast.Tuple):
        for index in range(len(node.type.elts)):
            elements = without(node.type.elts, index)
            yield changed(node, type=changed(node.type, elts=elements))


def _returned(node: ast.Return) -> Iterator[ast.AST]:
    if node.value is not None and not isinstance(node.value, ast.Constant):
        yield changed(node, value=ast.Constant(None))


def _dropped(node: ast.stmt) -> Iterator[ast.AST]:
    del node
    yield ast.Pass()


def _dropped_call(node: ast.Expr) -> Iterator[ast.AST]:
    if not isinstance(node.value, ast.Constant):
        yield ast.Pass()


def _assigned(node: Any) -> Iterator[ast.AST]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    if node.value is None:
        return
    if any(isinstance(target, ast.Attribute | ast.Subscript) for target in targets):
        yield ast.Pass()
    elif not isinstance(node.value, ast.Constant) and not isinstance(targets[0], ast.Tuple):
        yield changed(node, value=ast.Constant(None))


def _deleted(node: ast.Delete) -> Iterator[ast.AST]:
    if not all(isinstance(target, ast.Name) for target in node.targets):
        yield ast.Pass()


def _augmented(node: ast.AugAssign) -> Iterator[ast.AST]:
    yield changed(node, op=_ARITHMETIC[type(node.op)]())
    yield ast.Pass()


def _broken(node: ast.Break) -> Iterator[ast.AST]:
    del node
    yield ast.Pass()
    yield ast.Continue()


def _continued(node: ast.Continue) -> Iterator[ast.AST]:
    del node
    yield ast.Pass()
    yield ast.Break()


_MUTATORS: Final[Mapping[type[ast.AST], tuple[Callable[[Any], Iterator[ast.AST]], ...]]] = {
    ast.Compare: (_compare,),
    ast.BoolOp: (_and_or,),
    ast.UnaryOp: (_unary,),
    ast.BinOp: (_binary,),
    ast.Constant: (_constant,),
    ast.IfExp: (_either_branch,),
    ast.If: (_condition,),
    ast.While: (_condition,),
    ast.Call: (_call,),
    ast.comprehension: (_unfiltered,),
    ast.Dict: (_entries,),
    ast.Set: (_elements,),
    ast.Slice: (_bounds,),
    ast.ExceptHandler: (_uncaught,),
    ast.Return: (_returned,),
    ast.Expr: (_dropped_call,),
    ast.Raise: (_dropped,),
    ast.Assign: (_assigned,),
    ast.AnnAssign: (_assigned,),
    ast.AugAssign: (_augmented,),
    ast.Delete: (_deleted,),
    ast.Break: (_broken,),
    ast.Continue: (_continued,),
}
