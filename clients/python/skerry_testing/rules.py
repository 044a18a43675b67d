"""Checks of an app's own rules: on any history they answer, always the same, and touch nothing."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from hypothesis import given
from hypothesis import settings as Settings  # noqa: N812  (a class)

from core.errors import FieldError
from core.rules import Accept, Derive, Reject
from skerry_testing.histories import histories
from skerry_testing.replay import replay_all

if TYPE_CHECKING:
    from collections.abc import Collection as Names
    from collections.abc import Mapping

    from core.changes import Change
    from core.row import RowState, RowView
    from core.rules import Actor, Rule, RuleAnswer
    from core.schema.app import App
    from core.schema.collection import Collection
    from skerry_testing.history import History


def check_rules(
    app: App,
    *collections: type[Collection],
    fields: Mapping[str, Names[str]] | None = None,
    settings: Settings | None = None,
) -> None:
    """Try to break the rules of some collections (all by default) with any history.

    A rule raises nothing; it answers None, `Accept`, `Reject` or `Derive`; the same question gets
    the same answer; it leaves the row and the change as they are; what it derives names declared
    collections and fields, with payloads they take. `fields` are those that histories write, as in
    `histories`. Raises AssertionError with the smallest counterexample.
    """
    watched = {declared.collection_name for declared in collections} or set(app.collections)

    @given(history=histories(app, fields=fields))
    def rules_hold(history: History) -> None:
        faults: list[str] = []
        replay_all(_watched_app(app, watched, faults), history)
        assert not faults, faults[0]

    Settings(settings or Settings(), report_multiple_bugs=False)(rules_hold)()


def _watched_app(app: App, watched: Names[str], faults: list[str]) -> App:
    """Return the app with its rules wrapped: what they do wrong goes to `faults`."""
    copied = copy.copy(app)
    copied.rules = {
        name: [_watched(app, rule, faults) for rule in rules] if name in watched else rules
        for name, rules in app.rules.items()
    }
    return copied


def _watched(app: App, rule: Rule, faults: list[str]) -> Rule:
    name = getattr(rule, "__name__", "rule")

    def asked(actor: Actor, before: Any, change: Any) -> RuleAnswer:  # noqa: ANN401
        shown = _shown(actor, before, change)
        try:
            answer = rule(actor, before, change)
            again = rule(actor, before, change)
        except Exception as error:
            faults.append(f"rule {name} raised {error!r} on {shown}")
            raise
        if _shown(actor, before, change) != shown:
            faults.append(f"rule {name} changed its arguments: {shown}")
        elif answer != again:
            faults.append(f"rule {name} is not deterministic: {answer!r}, then {again!r}")
        elif (problem := _problem(app, answer)) is not None:
            faults.append(f"rule {name}: {problem}, on {shown}")
        return answer

    return asked


def _problem(app: App, answer: object) -> str | None:
    """Return what is wrong with an answer, or None."""
    if answer is None or isinstance(answer, Accept | Reject):
        return None
    if not isinstance(answer, Derive):
        return f"it answered {answer!r}, neither None, Accept, Reject nor Derive"
    for change in answer.changes:
        declared = app.collections.get(change.collection)
        if declared is None:
            return f"it derives a change of {change.collection!r}, which is not declared"
        for field, payload in change.fields.items():
            spec = declared.fields.get(field)
            if spec is None:
                return f"it derives a write of {change.collection}.{field}, which is not declared"
            try:
                spec.parse(payload)
            except FieldError as error:
                return f"it derives {change.collection}.{field} = {payload!r}: {error}"
    return None


def _shown(actor: Actor, before: RowView, change: Change[Any]) -> str:
    """Return all that a rule is given, as text: what it changed shows."""
    state: RowState = cast("Any", before)._state  # noqa: SLF001  (a view shows values only)
    return f"{actor!r}, before={state!r}, change={replace(change, proposals={})!r}"
