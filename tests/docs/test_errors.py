"""docs/ERRORS.md explains every code the node and the client give, and none that nobody gives."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from edge.cli import EXIT_FAILED, EXIT_USAGE

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "ERRORS.md").read_text("utf-8")
KEBAB = re.compile(r"[a-z]+(?:-[a-z]+)+")
ONE_WORD = {"malformed", "forbidden", "ambiguous"}
RECEIPTS = TEXT.split("## Receipts: quarantined")[1].split("## Over HTTP")[0]
ROW = re.compile(r"^\| `([a-z-]+)` \|", re.MULTILINE)
TYPED = TEXT.split("What people type")[1].split("A stream that ends")[0]
EXPLAINED = set(ROW.findall(RECEIPTS)) | set(ROW.findall(TYPED))


def texts_of(*folders: str) -> Iterator[tuple[str, str]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield str(path.relative_to(ROOT)), node.value


def test_every_code_of_ingest_is_explained():
    codes = {text for _, text in texts_of("edge/services/ingest") if KEBAB.fullmatch(text)}
    assert {"not-unique", "unknown-field", "later-write"} <= codes
    assert codes <= EXPLAINED


def test_every_code_that_is_raised_anywhere_is_explained():
    raised = re.compile(
        r'\b(?:FieldError|Refusal|Denied|Reject|_Malformed|Problem)\(\s*"([a-z-]+)"'
    )
    found = {
        code
        for folder in ("core", "edge/services", "clients/python")
        for path in (ROOT / folder).rglob("*.py")
        for code in raised.findall(path.read_text("utf-8"))
    }
    assert found <= EXPLAINED


def test_no_code_is_explained_that_nobody_gives():
    given = {text for _, text in texts_of("core", "edge/services", "clients/python")}
    assert given >= EXPLAINED


def test_every_close_code_has_its_row():
    given = {
        int(number)
        for path in (ROOT / "edge" / "controllers").glob("*.py")
        for number in re.findall(
            r'(?:CLOSE_\w+: Final =|"code":) (\d{4})\b', path.read_text("utf-8")
        )
    }
    documented = {int(n) for n in re.findall(r"^\| (\d{4}) \|", TEXT, re.MULTILINE)}
    assert given
    assert given <= documented
    assert documented - given == {1009}, "the WebSocket layer closes with 1009 by itself"


def test_exit_codes_are_the_command_s():
    assert f"{EXIT_FAILED} the node refused or failed; {EXIT_USAGE} used wrongly" in TEXT
