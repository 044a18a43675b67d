"""Judging one mutation at the primary: access, rules and bounds decide whether it enters.

Pure: everything it needs is an argument. What it returns is what the merge engine merges; the
result of that merge does not depend on the order in which accepted mutations arrive.

Invariants
  J1  a mutation is accepted whole or not at all
  J2  every accepted register write that loses, or makes another lose, unseen, yields a LostWrite
  J3  a row the person may not read and a row that is not there get the same answer
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from core.changes import Change, Mutation, Operation
from core.clock import unix_ms
from core.crdt.custom import Custom
from core.crdt.field import Write
from core.errors import Refusal
from core.policy import decide
from core.row import RowDelta, RowState, merge_delta
from core.rules import Accept, Actor, Derive, Reject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from core.ids import PersonId
    from core.policy import Denied
    from core.schema.app import App
    from core.schema.collection import Collection

RowKey = tuple[str, str]
"""(collection, row id)."""


@dataclass(frozen=True, slots=True)
class LostWrite:
    """Of two writes that had not seen each other, one lost; (value, h, n) of both."""

    collection: str
    row: str
    space: str
    field: str
    winner: tuple[Any, int, int]
    loser: tuple[Any, int, int]
    is_own: bool
    """Whether the judged mutation is the one that lost."""


_NO_STATES: dict[str, Any] = {}


class Verdict:
    """What became of one mutation. `rejection` set: nothing else is.

    `deltas` are to be merged, `lost` are the writes that lost unseen, `derived` the changes of the
    primary's own; `is_under_tombstone` tells that an edit went to a deleted row.
    """

    __slots__ = ("deltas", "derived", "is_under_tombstone", "lost", "rejection")

    def __init__(self, *, rejection: Reject | None = None) -> None:
        self.rejection = rejection
        self.deltas: list[RowDelta] = []
        self.lost: list[LostWrite] = []
        self.derived: list[Change[Any]] = []
        self.is_under_tombstone = False

    @property
    def is_superseded(self) -> bool:
        """Whether some write of the mutation lost, or went under a tombstone."""
        if not self.lost:
            return self.is_under_tombstone
        return self.is_under_tombstone or any(lost.is_own for lost in self.lost)


class Judge:
    """Judges the mutations of one app. `person` None stands for the primary itself: no rules."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._permits: dict[tuple[str, str | None, Operation], _Permit] = {}

    def judge(
        self,
        mutation: Mutation,
        person: PersonId | None,
        role_in: Callable[[PersonId, str, str], str | None],
        befores: Mapping[RowKey, RowState],
        receive_h: int,
    ) -> Verdict:
        """Decide one mutation against the rows as they stand.

        `befores` holds every row the mutation names that exists; `role_in(person, space, kind)`
        returns a role or None; `receive_h` is the primary's clock at ingest.
        """
        verdict = Verdict()
        changes = mutation.changes
        if len(changes) == 1:
            change = changes[0]
            before = befores.get((change.collection, change.row))
            verdict.rejection = self._judge_change(
                mutation, change, before, person, role_in, receive_h, verdict
            )
            return verdict
        overlay: dict[RowKey, RowState] = {}
        for change in changes:
            key = (change.collection, change.row)
            before = overlay.get(key) or befores.get(key)
            rejection = self._judge_change(
                mutation, change, before, person, role_in, receive_h, verdict
            )
            if rejection is not None:
                return Verdict(rejection=rejection)
            delta = verdict.deltas[-1]
            overlay[key] = merge_delta(
                before or RowState(change.row, delta.space),
                delta,
                self._app.collections[change.collection].fields,
            )
        return verdict

    def _judge_change(  # noqa: PLR0917  (one return per reason, in order of precedence)
        self,
        mutation: Mutation,
        change: Change[Any],
        before: RowState | None,
        person: PersonId | None,
        role_in: Callable[[PersonId, str, str], str | None],
        receive_h: int,
        verdict: Verdict,
    ) -> Reject | None:
        declared = self._app.collections[change.collection]
        if change.operation is Operation.INSERT:
            space = change.space
        elif before is None:
            return Reject("row-missing", "There is no such row for you.")
        else:
            space = before.space
        if person is not None:
            rejection = self._ask(
                declared, mutation, change, before, space, person, role_in, verdict
            )
            if rejection is not None:
                return rejection
        if before is not None and before.space != space:
            return Reject("row-exists", "This id is taken by another row.")
        try:
            delta = _admit(declared, mutation, change, before, space, receive_h, verdict)
        except Refusal as refusal:
            return Reject(refusal.code, refusal.message, tuple(change.fields))
        verdict.deltas.append(delta)
        return None

    def _ask(  # noqa: PLR0917
        self,
        declared: type[Collection],
        mutation: Mutation,
        change: Change[Any],
        before: RowState | None,
        space: str,
        person: PersonId,
        role_in: Callable[[PersonId, str, str], str | None],
        verdict: Verdict,
    ) -> Reject | None:
        """Ask the access policy, then the app's rules."""
        role = role_in(person, space, declared.space_kind)
        key = (change.collection, role, change.operation)
        permit = self._permits.get(key)
        if permit is None:
            permit = self._permits[key] = _Permit(declared, role, change.operation)
        denied = permit.denies(change.fields)
        if denied is not None:
            return Reject(denied.code, denied.message, denied.fields)
        rules = self._app.rules[change.collection]
        if not rules:
            return None
        if before is None or before.space != space:
            before = RowState(change.row, change.space)
        actor = Actor(person, role, mutation.device, unix_ms(mutation.h))
        view = declared(before)
        for rule in rules:
            try:
                answer = rule(actor, view, change)
            except Exception as error:  # noqa: BLE001  (the app's code: its failure is a receipt)
                name = getattr(rule, "__name__", "rule")
                return Reject("rule-failed", f"{name} failed: {type(error).__name__}")
            if answer is None or isinstance(answer, Accept):
                continue
            if isinstance(answer, Reject):
                return answer
            if isinstance(answer, Derive):  # pyright: ignore[reportUnnecessaryIsInstance]
                verdict.derived.extend(answer.changes)
            else:
                return Reject("rule-failed", "A rule answered neither Accept, Reject nor Derive.")
        return None


class _Permit:
    """The policy decisions of one role and operation on one collection, looked up once."""

    __slots__ = ("_declared", "_denied", "_operation", "_restricted", "_role")

    def __init__(self, declared: type[Collection], role: str | None, operation: Operation) -> None:
        self._declared, self._role, self._operation = declared, role, operation
        self._denied = self._decide(())
        self._restricted = {name for name in declared.fields if self._decide((name,)) is not None}

    def denies(self, written: Mapping[str, object]) -> Denied | None:
        """Return why writing these fields is not allowed, or None."""
        if self._denied is not None:
            return self._denied
        if self._restricted and not self._restricted.isdisjoint(written):
            return self._decide(written)
        return None

    def _decide(self, written: Iterable[str]) -> Denied | None:
        return decide(
            self._declared.access,
            self._declared.fields,
            role=self._role,
            operation=self._operation,
            written=written,
        )


def _admit(  # noqa: PLR0917  (hot path: no keyword calls)
    declared: type[Collection],
    mutation: Mutation,
    change: Change[Any],
    before: RowState | None,
    space: Any,  # noqa: ANN401  (SpaceId; kept loose on the hot path)
    receive_h: int,
    verdict: Verdict,
) -> RowDelta:
    """Turn an allowed change into its delta, noting which writes lose; may raise Refusal."""
    at = Write(mutation.h, mutation.device, mutation.counter)
    states: Mapping[str, Any] = before.fields if before is not None else _NO_STATES
    deltas: dict[str, Any] = {}
    for name, payload in change.fields.items():
        spec = declared.fields[name]
        stored = states.get(name)
        at_field = Write(receive_h, at.n, at.counter) if spec.uses_receive_stamp else at
        delta = spec.admit(stored, payload, at_field)
        if delta is None:
            continue
        deltas[name] = delta
        if spec.is_register:
            if stored is not None:
                _note_concurrency(spec, change, stored, delta, at_field, space, verdict)
        elif spec.kind == "counter" and stored is not None:
            _note_closed_epoch(change, name, stored, delta, at, space, verdict)
    alive = _alive_write(declared, change, before, at, verdict)
    return RowDelta(change.collection, change.row, space, alive, deltas)


def _alive_write(
    declared: type[Collection],
    change: Change[Any],
    before: RowState | None,
    at: Write,
    verdict: Verdict,
) -> tuple[int, int, bool] | None:
    if change.operation is not Operation.EDIT:
        return (at.h, at.n, change.operation is not Operation.DELETE)
    if before is not None and not before.alive[2]:
        had_not_seen = change.seen != before.alive[0]
        if declared.edit_wins and had_not_seen:
            verdict.derived.append(
                Change(change.collection, change.row, Operation.RESTORE, before.space)
            )
        else:
            verdict.is_under_tombstone = True
    return None


def _note_concurrency(  # noqa: PLR0917
    spec: Any,  # noqa: ANN401  (a Register of any value)
    change: Change[Any],
    stored: list[Any],
    delta: list[Any],
    at: Write,
    space: str,
    verdict: Verdict,
) -> None:
    """J2: record what lost when the author had not seen the stored write."""
    h, n, value = stored
    if n == at.n or h == change.base.get(spec.name, 0):
        return
    written = delta[2]
    if written == value and type(written) is type(value):
        return
    if isinstance(spec, Custom):
        custom = cast("Custom[Any]", spec)
        resolved = custom.resolve(change.fields[custom.name]["base"], value, written)
        payload = {"base": written, "value": resolved}
        verdict.derived.append(
            Change(
                change.collection, change.row, Operation.EDIT, change.space, {spec.name: payload}
            )
        )
    is_own = spec.merge(stored, delta) is stored
    ours, theirs = (written, delta[0], delta[1]), (value, h, n)
    verdict.lost.append(
        LostWrite(
            change.collection,
            change.row,
            space,
            spec.name,
            winner=theirs if is_own else ours,
            loser=ours if is_own else theirs,
            is_own=is_own,
        )
    )


def _note_closed_epoch(  # noqa: PLR0917
    change: Change[Any],
    name: str,
    stored: list[Any],
    delta: list[Any],
    at: Write,
    space: str,
    verdict: Verdict,
) -> None:
    """A counter change of a closed epoch is dropped by the merge: say so (values are states)."""
    if delta[0] < stored[0]:
        winner, loser = (stored, 0, 0), (delta, at.h, at.n)
        verdict.lost.append(
            LostWrite(change.collection, change.row, space, name, winner, loser, is_own=True)
        )
