"""The field survey app: its declaration, its rules as plain functions, and the demonstration."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import Actor, Change, Derive, Operation, Reject
from core.ids import DeviceNumber, PersonId, RowId, SpaceId
from core.row import RowState
from edge.cli.module import load_app

ROOT = Path(__file__).resolve().parents[2]
APP = ROOT / "examples" / "field_survey" / "app.py"
DEMO_SECONDS_MAX = 280
app = load_app(APP)
module = sys.modules["skerry_app_app"]
Airfield, Finding = app.collections["airfield"], app.collections["finding"]
REGION = SpaceId("region:europe")
lines = st.lists(st.sampled_from(["a", "b", "c", "", "d e"]), max_size=6).map("\n".join)
three_versions = st.tuples(lines, lines, lines)


def actor(role="inspector"):
    return Actor(PersonId("ada"), role, DeviceNumber(2), at_unix_ms=1_780_000_000_000)


def row(declared, **states):
    return declared(RowState(RowId("EDXH"), REGION, alive=(1, 2, True), fields=states))


def change(declared, **payloads):
    fields = {name: declared.fields[name].parse(payload) for name, payload in payloads.items()}
    return Change(
        declared.collection_name, RowId("EDXH"), Operation.EDIT, REGION, fields,
        proposals=dict(declared.fields),
    )  # fmt: skip


def test_ten_kinds_of_fields_and_more_are_declared():
    kinds = {
        field.kind for declared in app.collections.values() for field in declared.fields.values()
    }
    assert kinds >= {
        "lww", "group", "ranked", "counter", "bounded_counter", "add_wins", "multi_value", "max",
        "first_write", "flag", "map", "append_only", "custom", "blob_reference", "list_order",
    }  # fmt: skip


def test_roles_rights_and_constraints_are_declared():
    assert app.spaces == {"region": ("viewer", "inspector", "lead")}
    assert Airfield.fields["name"].write == {"lead"}
    assert Airfield.access.delete == {"lead"}
    assert [unique.fields for unique in Finding.unique] == [("report",)]
    assert [reference.on_delete for reference in Finding.references] == ["cascade"]


@pytest.mark.parametrize(
    ("role", "visits", "code"),
    [
        ("lead", 1, None),
        ("lead", 0, "not-visited"),
        ("inspector", 1, "lead-only"),
        ("lead", -1, "not-visited"),
    ],
)
def test_signing_off_needs_a_lead_and_a_visit(role, visits, code):
    before = row(Airfield, visits=[0, visits])
    rule = module.signing_off_needs_a_visit
    answer = rule(actor(role), before, change(Airfield, status="signed off"))
    assert (answer.code if isinstance(answer, Reject) else answer) == code


def test_other_changes_of_an_airfield_are_nobodys_business():
    rule = module.signing_off_needs_a_visit
    assert rule(actor("viewer"), row(Airfield), change(Airfield, status="visited")) is None
    assert rule(actor("viewer"), row(Airfield), change(Airfield, visits={"add": 1})) is None


@pytest.mark.parametrize("is_new", [True, False])
def test_a_severe_finding_raises_the_flag_of_its_airfield(is_new):
    states = {} if is_new else {"airfield": [1, 2, "EDXH"]}
    written = {"severity": "severe", **({"airfield": "EDXH"} if is_new else {})}
    rule = module.a_severe_finding_raises_the_flag
    answer = rule(actor(), row(Finding, **states), change(Finding, **written))
    assert isinstance(answer, Derive)
    (derived,) = answer.changes
    assert (derived.collection, derived.row, derived.space) == ("airfield", "EDXH", REGION)
    assert derived.operation is Operation.EDIT
    for name, payload in derived.fields.items():
        Airfield.fields[name].parse(payload)
    assert derived.fields["needs_attention"] == {"on": True}


@pytest.mark.parametrize("written", [{"severity": "minor", "airfield": "EDXH"}, {"title": "Ice"}])
def test_other_findings_raise_nothing(written):
    rule = module.a_severe_finding_raises_the_flag
    assert rule(actor(), row(Finding), change(Finding, **written)) is None


@given(three_versions)
def test_merging_lines_is_pure_and_keeps_what_only_one_side_changed(versions):
    base, ours, theirs = versions
    merge = module.merge_lines
    assert merge(base, ours, theirs) == merge(base, ours, theirs)
    assert merge(base, ours, base) == ours
    assert merge(base, base, theirs) == theirs
    assert merge(base, ours, ours) == ours


@given(three_versions)
def test_merging_lines_loses_no_added_line_and_invents_none(versions):
    base, ours, theirs = (version.split("\n") for version in versions)
    merged = module.merge_lines(*versions).split("\n")
    known = {*base, *ours, *theirs, ""}  # a text from which all is gone is one empty line
    assert (set(ours) | set(theirs)) - set(base) <= set(merged) <= known


@given(lines, lines)
def test_without_a_base_both_texts_are_there(ours, theirs):
    merged = module.merge_lines(None, ours, theirs).split("\n")
    assert {*ours.split("\n"), *theirs.split("\n")} - {""} <= set(merged)


def run_demo(*arguments):
    command = [sys.executable, str(APP.with_name("demo.py")), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=DEMO_SECONDS_MAX, cwd=ROOT, check=False
    )


def told_well(ended):
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stderr == ""
    for word in ("conflict", "escrow-exhausted", "not-visited", "not-unique", "reference-missing"):
        assert word in ended.stdout
    return "All four replicas are equal." in ended.stdout


def test_the_demonstration_ends_well_with_some_airfields():
    assert told_well(run_demo("--airports", "500"))


@pytest.mark.slow
def test_the_demonstration_ends_well_with_all_airfields():
    assert told_well(run_demo())
