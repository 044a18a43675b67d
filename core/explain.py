"""Why the judge would let one change in, or keep it out: each question it asks, with the answer.

The steps stand in the judge's own order and ask the same policies and rules; after the first denial
nothing more is asked. `explain` writes nothing, and its verdict is what `core.judge.Judge` says.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from core.changes import Change, Mutation, Operation
from core.clock import saturated, unix_ms
from core.errors import FieldError
from core.ids import MutationCounter, RowId, SpaceId
from core.judge import Judge
from core.policy import decide
from core.row import RowState
from core.rules import Accept, Actor, Derive, Reject

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from core.ids import DeviceNumber, PersonId
    from core.judge import RowKey
    from core.policy import Denied
    from core.rules import Rule
    from core.schema.app import App
    from core.schema.collection import Collection

READ: Final = "read"
"""The operation that changes nothing; all others are those of `Operation`."""
_ROW_MISSING: Final = Reject("row-missing", "There is no such row for you.")


class Answer(StrEnum):
    """What one step said."""

    ALLOWED = "allowed"
    DENIED = "denied"
    NOT_ASKED = "not-asked"
    """An earlier step has denied already, or only the node's database can answer."""


@dataclass(frozen=True, slots=True)
class Step:
    """One question: `subject` is the rule, policy, field or constraint that was asked."""

    subject: str
    answer: Answer
    detail: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """All steps in order, and what the person is told: `rejection` None means allowed."""

    steps: tuple[Step, ...]
    rejection: Reject | None

    @property
    def is_allowed(self) -> bool:
        """Whether the operation would be let in."""
        return self.rejection is None


def explain(
    app: App,
    *,
    person: PersonId,
    role: str | None,
    operation: str,
    collection: str,
    row_state: RowState | None,
    fields: Mapping[str, Any],
    row: str,
    space: str,
    now_ms: int,
    device: DeviceNumber,
) -> Explanation:
    """Explain one operation of one person on one row; `now_ms` is its time (Unix ms).

    `role` is the person's in the space concerned: `row_state.space`, or for an insert `space`.
    `fields` are payloads as a device would send them; `row_state` None: there is no such row.
    `collection` must be declared, and `operation` be READ or one of `Operation` (ValueError).
    """
    asked = _Asked()
    declared = app.collections[collection]
    if operation == READ:
        _explain_read(declared, role, row_state, asked)
        return asked.explanation()
    change = _parsed(declared, Operation(operation), row, space, fields, asked)
    before = row_state
    if change.operation is not Operation.INSERT:
        asked.ask("row", None if before is not None else _ROW_MISSING, "The row is there.")
        if before is not None:
            space = before.space
    _ask_policies(declared, role, change, fields, asked)
    h = saturated(now_ms)
    actor = Actor(person, role, device, unix_ms(h))
    view = before
    if view is None or view.space != space:
        view = RowState(change.row, change.space)
    for rule in app.rules[collection]:
        asked.ask_rule(rule, actor, declared(view), change)
    mutation = Mutation(device, MutationCounter(1), h, (change,))
    _ask_admission(app, mutation, before, asked)
    asked.steps.extend(_constraints(declared))
    return asked.explanation()


class _Asked:
    """The steps so far; after a denial, further questions are noted and not asked."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.rejection: Reject | None = None

    def explanation(self) -> Explanation:
        return Explanation(tuple(self.steps), self.rejection)

    def ask(self, subject: str, rejection: Reject | None, allowed: str, why: str = "") -> None:
        """Note one answer; `why` says to an administrator what `rejection` hides from people."""
        if self.rejection is not None:
            self.skip(subject)
        elif rejection is None:
            self.steps.append(Step(subject, Answer.ALLOWED, allowed))
        else:
            self.rejection = rejection
            detail = why or rejection.message
            self.steps.append(Step(subject, Answer.DENIED, f"{rejection.code}: {detail}"))

    def skip(self, subject: str) -> None:
        self.steps.append(Step(subject, Answer.NOT_ASKED, "An earlier step has denied."))

    def ask_rule(self, rule: Rule, actor: Actor, view: Any, change: Change[Any]) -> None:  # noqa: ANN401
        name = getattr(rule, "__name__", "rule")
        subject = f"rule {name}"
        if self.rejection is not None:
            self.skip(subject)
            return
        try:
            answer: Any = rule(actor, view, change)
        except Exception as error:  # noqa: BLE001  (the app's code: its failure is an answer)
            answer = Reject("rule-failed", f"{name} failed: {type(error).__name__}")
        if answer is None or isinstance(answer, Accept):
            self.ask(subject, None, "It accepts.")
        elif isinstance(answer, Derive):
            derived = ", ".join(f"{c.operation} {c.collection} {c.row}" for c in answer.changes)
            self.ask(subject, None, f"It accepts, and derives: {derived or 'nothing'}.")
        elif isinstance(answer, Reject):
            self.ask(subject, answer, "")
        else:
            message = "A rule answered neither Accept, Reject nor Derive."
            self.ask(subject, Reject("rule-failed", message), "")


def _explain_read(
    declared: type[Collection], role: str | None, row_state: RowState | None, asked: _Asked
) -> None:
    _ask_membership(declared, role, asked)
    is_there = row_state is not None and row_state.is_alive
    why = "There is no such row." if row_state is None else "The row is deleted."
    asked.ask("row", None if is_there else _ROW_MISSING, "The row is there.", why)


def _ask_membership(declared: type[Collection], role: str | None, asked: _Asked) -> None:
    kind = declared.space_kind
    why = f"The person has no role in this space of kind {kind!r}."
    member = None if role is not None else _ROW_MISSING
    asked.ask("membership", member, f"The person's role is {role!r}.", why)
    may_read = role in declared.access.read
    named = ", ".join(sorted(declared.access.read))
    asked.ask(
        "policy read",
        None if may_read else _ROW_MISSING,
        f"The role {role!r} may read these rows.",
        f"These rows are read by: {named}.",
    )


def _ask_policies(
    declared: type[Collection],
    role: str | None,
    change: Change[Any],
    written: Mapping[str, Any],
    asked: _Asked,
) -> None:
    _ask_membership(declared, role, asked)
    operation = change.operation

    def denied_for(*names: str) -> Denied | None:
        return decide(
            declared.access, declared.fields, role=role, operation=operation, written=names
        )

    allowed = f"The role {role!r} may {operation.value} these rows."
    asked.ask(f"policy {operation.value}", _rejection(denied_for()), allowed)
    known = [name for name in written if name in declared.fields]
    # A receipt names every field that may not be written, so the whole of it is the rejection.
    whole = _rejection(denied_for(*known))
    for name in known:
        is_denied = denied_for(name) is not None
        why = f"The role {role!r} may not write {name!r}."
        asked.ask(f"field {name}", whole if is_denied else None, "It may be written.", why)


def _rejection(denied: Denied | None) -> Reject | None:
    return None if denied is None else Reject(denied.code, denied.message, denied.fields)


def _parsed(  # noqa: PLR0917  (all of them are the change)
    declared: type[Collection],
    operation: Operation,
    row: str,
    space: str,
    fields: Mapping[str, Any],
    asked: _Asked,
) -> Change[Any]:
    """Return the change; a malformed payload is a step that denies (the node quarantines it)."""
    parsed: dict[str, Any] = {}
    problem: Reject | None = None
    if fields and operation not in {Operation.INSERT, Operation.EDIT}:
        problem = Reject("fields-not-allowed", f"a {operation.value} carries no fields")
    for name, payload in fields.items():
        spec = declared.fields.get(name)
        try:
            if spec is None:
                problem = problem or Reject("unknown-field", f"no field {name!r:.60}", (name[:60],))
            else:
                parsed[name] = spec.parse(payload)
        except FieldError as error:
            problem = problem or Reject(error.code, error.message, (name,))
    asked.ask("payloads", problem, "They are well formed.")
    return Change(
        declared.collection_name,
        RowId(row),
        operation,
        SpaceId(space),
        parsed,
        proposals=declared.fields,
    )


def _ask_admission(app: App, mutation: Mutation, before: RowState | None, asked: _Asked) -> None:
    """Ask the fields themselves (escrow, lengths, ids): as the judge does for the primary."""
    if asked.rejection is not None:
        asked.skip("admission")
        return
    change = mutation.changes[0]
    befores: dict[RowKey, RowState] = {}
    if before is not None:
        befores[change.collection, change.row] = before
    verdict = Judge(app).judge(mutation, None, _no_role, befores, mutation.h)
    detail = "The fields take it."
    if verdict.is_under_tombstone:
        detail = "The fields take it, under the tombstone of a deleted row."
    asked.ask("admission", verdict.rejection, detail)


def _no_role(_person: PersonId, _space: str, _kind: str) -> str | None:
    return None


def _constraints(declared: type[Collection]) -> Iterator[Step]:
    unknown = "Not evaluated: it concerns other rows, and is decided when the change is merged."
    for unique in declared.unique:
        yield Step(f"unique {unique.name}", Answer.NOT_ASKED, unknown)
    for reference in declared.references:
        yield Step(f"reference {reference.field}", Answer.NOT_ASKED, unknown)
