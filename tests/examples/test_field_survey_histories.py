"""The field survey app, property-tested as docs/howto/test-your-rules.md shows: any history."""

import sys
from pathlib import Path

from hypothesis import given

from edge.cli.module import load_app
from skerry_testing import Law, check_resolver, check_rules, histories, replay, replay_all

app = load_app(Path(__file__).resolve().parents[2] / "examples" / "field_survey" / "app.py")
module = sys.modules["skerry_app_app"]
SIGNING = {"airfield": ("status", "visits")}


def test_descriptions_keep_what_one_side_changed():
    check_resolver(module.Airfield.description, laws=[Law.ONE_SIDED])


def test_rules_are_sound():
    check_rules(app)


@given(histories(app, fields={"airfield": ("spares",), "finding": ("airfield", "report")}))
def test_spares_references_and_report_numbers_hold_in_any_delivery(history):
    for outcome in replay_all(app, history):
        assert all(field.spares >= 0 for field in outcome.rows(module.Airfield))
        airfields = {field.row_id for field in outcome.rows(module.Airfield)}
        findings = outcome.rows(module.Finding)
        assert {finding.airfield for finding in findings} <= {*airfields, ""}
        reports = [finding.report for finding in findings if finding.report is not None]
        assert len(reports) == len(set(reports))


@given(histories(app, fields=SIGNING, rows=("EDXH",)))
def test_nothing_is_signed_off_unless_somebody_was_there(history):
    """Somebody has added to the visits, however many were taken away again."""
    for outcome in replay_all(app, history):
        refused = {(receipt.device, receipt.counter) for receipt in outcome.rejected}
        merged = [m for m in history.mutations if (m.device, m.counter) not in refused]
        changes = [change for mutation in merged for change in mutation.changes]
        if any(change.get(module.Airfield.status) == "signed off" for change in changes):
            assert any((change.get(module.Airfield.visits) or 0) > 0 for change in changes)


@given(histories(app, fields=SIGNING))
def test_only_leads_sign_off(history):
    outcome = replay(app, history)
    refused = {(receipt.device, receipt.counter) for receipt in outcome.rejected}
    for mutation in history.mutations:
        changes = [c for c in mutation.changes if c.get(module.Airfield.status) == "signed off"]
        role = history.phone(mutation.device).roles["region"]
        if changes and role != "lead":
            assert (mutation.device, mutation.counter) in refused
