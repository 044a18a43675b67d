"""Each mutator, by what it makes of one small piece of code."""

import ast

import pytest

from tests.mutants.edits import edits_of

CASES = [
    ("a < b", {"a <= b", "a >= b"}),
    ("a == b", {"a != b"}),
    ("a is None", {"a is not None"}),
    ("a in b", {"a not in b"}),
    ("a <= b <= c", {"a < b <= c", "a > b <= c", "a <= b < c", "a <= b > c"}),
    ("(a, b) > (c, d)", {"(a, b) >= (c, d)", "(a, b) <= (c, d)", "(a,) > (c,)", "(b,) > (d,)"}),
    ("a and b", {"a or b", "a", "b"}),
    ("a or b or c", {"a and b and c", "b or c", "a or c", "a or b"}),
    ("not a", {"a"}),
    ("-a", {"a"}),
    ("a + b", {"a - b"}),
    ("a << b", {"a >> b"}),
    ("a | b", {"a & b", "a", "b"}),
    ("[7]", {"[8]", "[6]"}),
    ("[True]", {"[False]"}),
    ("['code']", {"['code~']"}),
    ("['a sentence']", set()),
    ("[f'{a}']", set()),
    ("[None]", set()),
    ("a if b else c", {"a", "c"}),
    ("f(a, key=b)", {"f(a)"}),
    ("min(a, b)", {"max(a, b)"}),
    ("any(a)", {"all(a)"}),
    ("sorted(a, key=b)", {"sorted(a)", "list(a)"}),
    ("a.lower()", {"a"}),
    ("[a for a in b if c]", {"[a for a in b]"}),
    ("{a: b, c: d}", {"{c: d}", "{a: b}"}),
    ("a[b:c]", {"a[:c]", "a[b:]"}),
    ("cast('int', a)", set()),
]


def outcomes(source: str) -> set[str]:
    """Return the bodies of a function that its edits lead to, less the loss of its result."""
    function = ast.parse(source).body[0]
    assert isinstance(function, ast.FunctionDef)
    found: set[str] = set()
    for edit in edits_of(function):
        undo = edit.apply()
        found.add(ast.unparse(ast.fix_missing_locations(function)).split("\n", 1)[1])
        undo()
    assert ast.unparse(function) == ast.unparse(ast.parse(source)), "an edit was not undone"
    return found


@pytest.mark.parametrize(("expression", "expected"), CASES)
def test_expressions(expression, expected):
    found = outcomes(f"def f():\n    return {expression}")
    assert {body.strip().removeprefix("return ") for body in found} - {"None"} == expected
    assert "    return None" in found


STATEMENTS = [
    ("call()", {"pass"}),
    ("a.b = c", {"pass"}),
    ("a = b", {"a = None"}),
    ("a += b", {"a -= b", "pass"}),
    ("raise A", {"pass"}),
    ("del a[b]", {"pass"}),
    ("del a", set()),
    ("assert a < b", set()),
    ("'''A docstring.'''", set()),
    ("while a:\n        break", {"while not a:\n        break", "while a:\n        pass"}),
    ("for a in b:\n        continue", {"for a in b:\n        pass", "for a in b:\n        break"}),
    ("if a:\n        del b", {"if not a:\n        del b"}),
]


@pytest.mark.parametrize(("statement", "expected"), STATEMENTS)
def test_statements(statement, expected):
    assert expected <= {body.strip() for body in outcomes(f"def f():\n    {statement}")}
    if not expected:
        assert outcomes(f"def f():\n    {statement}") == set()


def test_handlers_may_catch_less():
    found = outcomes("def f():\n    try:\n        a\n    except (A, B):\n        del b")
    assert any("except ():" in body for body in found)
    assert any("except (A,):" in body for body in found)


def test_decorators_annotations_and_reprs_stay():
    assert outcomes("def f(a: b < 1) -> 'c':\n    del a") == set()
    function = ast.parse("@d(1)\ndef f():\n    del a").body[0]
    assert isinstance(function, ast.FunctionDef)
    assert edits_of(function) == []
    assert outcomes("def __repr__(self):\n    return self.a + 1") == set()
    assert outcomes("def f(self):\n    raise NotImplementedError") == set()


def test_equal_changes_are_numbered_and_named_with_what_is_around_them():
    function = ast.parse("def f():\n    a(1, 1)\n    return b[0]").body[0]
    assert isinstance(function, ast.FunctionDef)
    names = [edit.name for edit in edits_of(function)]
    assert "a(1, 1) -> a(2, 1)" in names
    assert "b[0] -> b[1]" in names
    twice = ast.parse("def f():\n    a.b(c)\n    a.b(c)").body[0]
    assert isinstance(twice, ast.FunctionDef)
    assert [edit.name for edit in edits_of(twice)] == ["a.b(c) -> pass", "a.b(c) -> pass  #2"]


def test_an_edit_of_a_compound_statement_matters_on_the_lines_of_its_head():
    function = ast.parse("def f():\n    if (a or\n            b):\n        c()").body[0]
    assert isinstance(function, ast.FunctionDef)
    assert {edit.lines for edit in edits_of(function)} == {(2, 3), (4, 4)}
