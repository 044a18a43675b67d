"""An explanation's verdict is the judge's, over a grid of roles, operations, rows and fields."""

from itertools import product
from pathlib import Path

import pytest

from core import Access, App, Collection, Lww
from core.changes import Change, Mutation, Operation
from core.clock import saturated
from core.crdt.field import Write
from core.errors import FieldError
from core.explain import READ, Answer, explain
from core.ids import DeviceNumber, MutationCounter, PersonId, RowId, SpaceId
from core.judge import Judge
from core.row import RowState
from core.rules import Accept, Derive, Reject
from edge.cli.module import load_app
from tests.edge.services.survey import make_app

ROOT = Path(__file__).resolve().parents[2]
SURVEY = make_app()
FIELD_SURVEY = load_app(ROOT / "examples" / "field_survey" / "app.py")
NOW_MS = 1_790_000_000_000
DEVICE = DeviceNumber(7)
ANN = PersonId("ann")
DEAD, ALIVE = (9, 2, False), (9, 2, True)

SURVEY_FIELDS = {
    "item": [
        {}, {"title": "x"}, {"title": "crash"}, {"secret": "s"}, {"title": "x", "secret": "s"},
        {"title": 5}, {"nothing": 1}, {"stock": {"use": 5}}, {"visits": 3},
    ],
    "ticket": [{"code": "a", "twin": "b"}, {"sells": "r1"}, {"code": "a"}],
    "salary": [{}, {"amount": 3}],
}  # fmt: skip
STATUS = SURVEY.collections["item"].fields["status"]
PAID = STATUS.admit(None, STATUS.parse("paid"), Write(5, 3, 1))
SURVEY_STATES = {"item": {"status": PAID, "title": [5, 3, "old"]}}
AIRFIELD_FIELDS = [
    {}, {"name": "x"}, {"status": "visited"}, {"status": "signed off"},
    {"name": "x", "country": "y"}, {"spares": {"use": 2}}, {"elevation_ft": 90_000},
    {"elevation_ft": 90},
]  # fmt: skip
FINDING_FIELDS = [
    {}, {"airfield": "EDXH", "severity": "severe"}, {"report": 0}, {"report": 4, "title": "t"},
]  # fmt: skip


def rows(space, fields):
    """No row, a living one, a dead one, and one in another space."""
    yield None
    yield RowState(RowId("r1"), SpaceId(space), 4, ALIVE, {})
    yield RowState(RowId("r1"), SpaceId(space), 4, ALIVE, dict(fields))
    yield RowState(RowId("r1"), SpaceId(space), 4, DEAD, {})
    yield RowState(RowId("r1"), SpaceId("elsewhere"), 4, ALIVE, dict(fields))


def judged(app, *, role, operation, collection, row_state, fields):
    """What the node would answer: the parser's refusal, or the judge's; (code, message, fields)."""
    declared = app.collections[collection]
    if fields and operation not in {Operation.INSERT, Operation.EDIT}:
        return "fields-not-allowed"
    parsed = {}
    for name, payload in fields.items():
        if name not in declared.fields:
            return "unknown-field"
        try:
            parsed[name] = declared.fields[name].parse(payload)
        except FieldError as error:
            return error.code
    change = Change(
        collection, RowId("r1"), operation, SpaceId("north"), parsed, proposals=declared.fields
    )
    h = saturated(NOW_MS)
    befores = {} if row_state is None else {(collection, "r1"): row_state}
    mutation = Mutation(DEVICE, MutationCounter(1), h, (change,))
    return Judge(app).judge(mutation, ANN, lambda *_: role, befores, h).rejection


def explained(app, *, role, operation, collection, row_state=None, fields=None):
    return explain(
        app, person=ANN, role=role, operation=operation, collection=collection, row="r1",
        row_state=row_state, fields=fields or {}, space="north", now_ms=NOW_MS, device=DEVICE,
    )  # fmt: skip


def check_grid(app, collection, roles, payloads, states):
    outcomes = set()
    for role, operation, fields, row_state in product(
        (None, *roles, "stranger"), Operation, payloads, rows("north", states)
    ):
        asked = {"role": role, "operation": operation, "collection": collection,
                 "row_state": row_state, "fields": fields}  # fmt: skip
        wanted = judged(app, **asked)
        found = explained(app, **asked)
        if isinstance(wanted, str):
            assert found.rejection is not None, asked
            assert found.rejection.code == wanted, asked
        else:
            assert found.rejection == wanted, asked
        denials = [step for step in found.steps if step.answer is Answer.DENIED]
        assert len(denials) == (0 if found.is_allowed else 1), found.steps
        outcomes.add(None if found.rejection is None else found.rejection.code)
    return outcomes


@pytest.mark.parametrize("collection", sorted(SURVEY_FIELDS))
def test_the_verdict_is_the_judges(collection):
    outcomes = check_grid(
        SURVEY,
        collection,
        SURVEY.spaces["team"],
        SURVEY_FIELDS[collection],
        SURVEY_STATES.get(collection, {}),
    )
    assert outcomes >= {None, "row-missing", "row-exists"}
    if collection == "item":
        assert outcomes >= {"forbidden", "field-forbidden", "rule-failed", "paid", "unknown-field"}


@pytest.mark.parametrize(
    ("collection", "payloads", "states"),
    [("airfield", AIRFIELD_FIELDS, {"visits": [0, 2]}), ("finding", FINDING_FIELDS, {})],
)
def test_the_verdict_is_the_judges_for_the_example(collection, payloads, states):
    outcomes = check_grid(FIELD_SURVEY, collection, FIELD_SURVEY.spaces["region"], payloads, states)
    assert outcomes >= {None, "row-missing", "forbidden"}
    if collection == "airfield":
        assert outcomes >= {"lead-only", "not-visited", "field-forbidden"}


def test_a_read_needs_a_role_that_reads_and_a_living_row():
    alive = RowState(RowId("r1"), SpaceId("north"), 4, ALIVE, {})
    dead = RowState(RowId("r1"), SpaceId("north"), 4, DEAD, {})
    for role, row_state, is_allowed in [
        ("lead", alive, True), ("lead", dead, False), ("lead", None, False),
        ("member", alive, False), (None, alive, False),
    ]:  # fmt: skip
        found = explained(
            SURVEY, role=role, operation=READ, collection="salary", row_state=row_state
        )
        assert found.is_allowed == is_allowed
        assert found.rejection is None or found.rejection.code == "row-missing"


def test_steps_come_in_order_and_name_rules_and_constraints():
    found = explained(
        SURVEY, role="member", operation="insert", collection="ticket",
        fields={"code": "a", "twin": "b"},
    )  # fmt: skip
    assert [(step.subject, step.answer) for step in found.steps] == [
        ("payloads", "allowed"),
        ("membership", "allowed"),
        ("policy read", "allowed"),
        ("policy insert", "allowed"),
        ("field code", "allowed"),
        ("field twin", "allowed"),
        ("rule twins", "allowed"),
        ("admission", "allowed"),
        ("unique code", "not-asked"),
    ]
    assert "insert ticket r1-twin" in found.steps[6].detail
    assert "Not evaluated" in found.steps[-1].detail


def test_after_a_denial_nothing_more_is_asked():
    found = explained(
        SURVEY, role="member", operation="insert", collection="item",
        fields={"secret": "s", "title": "crash"},
    )  # fmt: skip
    answers = {step.subject: step.answer for step in found.steps}
    assert answers["field secret"] == "denied"
    assert answers["field title"] == answers["rule paid_is_final"] == "not-asked"
    assert "'member'" in next(s.detail for s in found.steps if s.subject == "field secret")


def reading(role, row_state):
    found = explained(SURVEY, role=role, operation=READ, collection="salary", row_state=row_state)
    return [(step.subject, step.answer.value, step.detail) for step in found.steps]


def test_an_administrator_is_told_why_somebody_cannot_read():
    alive = RowState(RowId("r1"), SpaceId("north"), 4, ALIVE, {})
    dead = RowState(RowId("r1"), SpaceId("north"), 4, DEAD, {})
    lead = [
        ("membership", "allowed", "The person's role is 'lead'."),
        ("policy read", "allowed", "The role 'lead' may read these rows."),
    ]
    assert reading("lead", alive) == [*lead, ("row", "allowed", "The row is there.")]
    assert reading("lead", dead) == [*lead, ("row", "denied", "row-missing: The row is deleted.")]
    missing = ("row", "denied", "row-missing: There is no such row.")
    assert reading("lead", None) == [*lead, missing]
    not_asked = ("row", "not-asked", "An earlier step has denied.")
    assert reading("member", alive) == [
        ("membership", "allowed", "The person's role is 'member'."),
        ("policy read", "denied", "row-missing: These rows are read by: lead."),
        not_asked,
    ]
    assert reading(None, alive) == [
        (
            "membership",
            "denied",
            "row-missing: The person has no role in this space of kind 'team'.",
        ),
        ("policy read", "not-asked", "An earlier step has denied."),
        not_asked,
    ]


def test_the_readers_of_a_collection_are_named_in_order():
    found = explained(SURVEY, role="stranger", operation=READ, collection="item")
    assert found.steps[1].detail == "row-missing: These rows are read by: lead, member, reader."


def steps(**asked):
    return {step.subject: (step.answer.value, step.detail) for step in explained(**asked).steps}


def test_an_edit_asks_for_its_row_and_an_insert_does_not():
    edit = {"app": SURVEY, "role": "member", "operation": "edit", "collection": "ticket"}
    alive = RowState(RowId("r1"), SpaceId("north"), 4, ALIVE, {})
    assert steps(**edit, row_state=alive)["row"] == ("allowed", "The row is there.")
    missing = steps(**edit)
    assert missing["row"] == ("denied", "row-missing: There is no such row for you.")
    assert missing["admission"] == ("not-asked", "An earlier step has denied.")
    assert "row" not in steps(**{**edit, "operation": "insert"})


def test_what_a_role_may_and_may_not_write_is_told():
    found = steps(
        app=SURVEY, role="member", operation="edit", collection="item",
        row_state=RowState(RowId("r1"), SpaceId("north"), 4, ALIVE, {}),
        fields={"title": "x", "secret": "s"},
    )  # fmt: skip
    assert found["policy edit"] == ("allowed", "The role 'member' may edit these rows.")
    assert found["field title"] == ("allowed", "It may be written.")
    assert found["field secret"] == (
        "denied",
        "field-forbidden: The role 'member' may not write 'secret'.",
    )


def test_an_edit_under_a_tombstone_is_told_apart():
    edit = {"app": SURVEY, "role": "member", "operation": "edit", "collection": "ticket"}
    alive = RowState(RowId("r1"), SpaceId("north"), 4, ALIVE, {})
    dead = RowState(RowId("r1"), SpaceId("north"), 4, DEAD, {})
    assert steps(**edit, row_state=alive)["admission"] == ("allowed", "The fields take it.")
    assert "tombstone" in steps(**edit, row_state=dead)["admission"][1]


def test_references_are_left_to_the_merge():
    found = explained(SURVEY, role="member", operation="insert", collection="kept")
    assert [(step.subject, step.answer.value) for step in found.steps[-1:]] == [
        ("reference folder", "not-asked")
    ]


def test_long_names_of_unknown_fields_are_cut():
    found = explained(
        SURVEY, role="member", operation="insert", collection="ticket", fields={"x" * 70: 1}
    )
    assert found.rejection is not None
    assert found.rejection.fields == ("x" * 60,)


def asked_rule(rule):
    app = App("app", version=1, spaces={"team": ("member",)})
    access = Access(read=("member",), insert=("member",))
    declared = type("Note", (Collection,), {"title": Lww(str), "access": access}, space="team")
    app.add(declared)
    app.rule(declared)(rule)
    found = explained(app, role="member", operation="insert", collection="note")
    return found.steps[-2], found.rejection


class Nameless:
    """A rule that is no function."""

    def __call__(self, *_):
        return Accept()


def test_whatever_a_rule_answers_is_told():
    step, rejection = asked_rule(lambda *_: None)
    assert (step.subject, step.answer, step.detail) == ("rule <lambda>", "allowed", "It accepts.")
    step, rejection = asked_rule(Nameless())
    assert (step.subject, step.detail, rejection) == ("rule rule", "It accepts.", None)
    step, rejection = asked_rule(lambda *_: Derive())
    assert step.detail == "It accepts, and derives: nothing."
    step, rejection = asked_rule(lambda *_: Reject("no-way", "No way."))
    assert (step.answer, step.detail) == ("denied", "no-way: No way.")
    step, rejection = asked_rule(lambda *_: "yes")
    assert step.answer == "denied"
    assert step.detail.startswith("rule-failed: A rule answered")
    assert rejection is not None
    assert rejection.code == "rule-failed"
