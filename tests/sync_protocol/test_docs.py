"""docs/PROTOCOL.md and docs/ERRORS.md say what the code does."""

import re
from pathlib import Path
from typing import get_args

import pytest

from core.clock import SKEW_TOLERANCE_MS
from sync_protocol import limits, transport
from sync_protocol.faults import FaultKind
from sync_protocol.messages.page import SpaceRows
from sync_protocol.messages.provisional import ProvisionalMutation
from sync_protocol.messages.push import WireChange, WireMutation
from sync_protocol.messages.pushed import Conflict, Outcome, Receipt
from sync_protocol.messages.union import ClientMessage, ServerMessage
from sync_protocol.session.diagram import diagram
from sync_protocol.session.reactions import ENDS_THE_STREAM, REACTIONS
from sync_protocol.version import PROTOCOL_FINGERPRINT

ROOT = Path(__file__).parents[2]
PROTOCOL = (ROOT / "docs" / "PROTOCOL.md").read_text("utf-8")
ERRORS = (ROOT / "docs" / "ERRORS.md").read_text("utf-8")
CODE = re.compile(r'\b(?:FieldError|Refusal|Denied|Reject)\(\s*"([a-z-]+)"')
STRUCTS = [
    *get_args(ClientMessage),
    *get_args(ServerMessage),
    WireMutation,
    WireChange,
    SpaceRows,
    ProvisionalMutation,
    Receipt,
    Conflict,
]


def test_the_diagrams_are_the_tables():
    assert diagram() in PROTOCOL, "run `python -m sync_protocol.session.diagram`"


def test_the_fingerprint_is_this_version_s():
    assert f"`{PROTOCOL_FINGERPRINT}`" in PROTOCOL


@pytest.mark.parametrize("kind", list(FaultKind))
def test_every_fault_has_its_row(kind):
    stream = "is closed" if REACTIONS[kind] in ENDS_THE_STREAM else "goes on"
    assert f"| `{kind}` | {REACTIONS[kind]} | {stream} |" in PROTOCOL
    assert re.search(
        rf"^\| `{kind}` \| \d{{3}} \| .+ \| {REACTIONS[kind]} \|$", ERRORS, re.MULTILINE
    )


@pytest.mark.parametrize("name", [name for name in dir(limits) if name.isupper()])
def test_every_limit_has_its_row(name):
    assert f"| `{name}` | {getattr(limits, name):,} |" in PROTOCOL


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_every_field_of_every_message_is_there(struct):
    words = set(re.findall(r"\w+", PROTOCOL))
    assert set(struct.__struct_fields__) <= words


def test_outcomes_paths_and_subprotocols_are_there():
    for outcome in get_args(Outcome):
        assert f"| `{outcome}` |" in PROTOCOL
    for name in (*transport.SUBPROTOCOLS, transport.STREAM_PATH, transport.BEARER_SUBPROTOCOL):
        assert f"`{name}" in PROTOCOL
    assert f"{SKEW_TOLERANCE_MS // 1000} s of skew" in PROTOCOL


def test_every_code_of_core_is_explained():
    found = {
        code
        for path in (ROOT / "core").rglob("*.py")
        for code in CODE.findall(path.read_text("utf-8"))
    }
    assert found
    assert found <= set(re.findall(r"^\| `([a-z-]+)` \|", ERRORS, re.MULTILINE))
