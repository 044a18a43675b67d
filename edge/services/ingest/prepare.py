"""Wire mutations to domain changes: lenses, names, payloads. Runs on the loop, before the queue.

A mutation that cannot be prepared is quarantined with its reason; it never blocks those behind it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from core.changes import Change, Operation
from core.errors import FieldError
from core.ids import RowId, SpaceId, is_id
from edge.services.ingest.prepared import PreparedMutation, Problem
from sync_protocol import limits
from sync_protocol.mutations import Malformed, payload_hash

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from core.crdt.field import Field
    from core.schema.app import App
    from sync_protocol.messages.push import WireChange, WireMutation

_OPERATIONS: Final = {operation.value: operation for operation in Operation}


class _Malformed(Exception):
    def __init__(self, code: str, message: str, fields: tuple[str, ...] = ()) -> None:
        super().__init__(code)
        self.problem = Problem(code, message, fields)


class Preparer:
    """Prepares mutations for one app."""

    def __init__(self, app: App) -> None:
        self._app = app

    def prepare(
        self, mutations: Sequence[WireMutation | Malformed], *, schema_version: int, expected: int
    ) -> list[PreparedMutation]:
        """Parse mutations in order; `expected` numbers a malformed first one without a counter."""
        prepared: list[PreparedMutation] = []
        for mutation in mutations:
            prepared.append(self._prepare_one(mutation, schema_version, expected))
            expected = prepared[-1].counter + 1
        return prepared

    def _prepare_one(
        self, mutation: WireMutation | Malformed, schema_version: int, expected: int
    ) -> PreparedMutation:
        identity = payload_hash(mutation)
        if isinstance(mutation, Malformed):
            counter = expected if mutation.counter is None else mutation.counter
            problem = Problem("malformed", mutation.reason, (), mutation.content)
            return PreparedMutation(counter, 0, 0, identity, problem=problem)
        try:
            changes = self.changes(mutation.changes, schema_version=schema_version)
        except _Malformed as error:
            return PreparedMutation(
                mutation.counter, mutation.h, 0, identity, problem=error.problem
            )
        seen = 0
        for change in changes:
            seen = max(seen, change.seen, *change.base.values())
        return PreparedMutation(mutation.counter, mutation.h, seen, identity, changes)

    def changes(
        self, changes: Sequence[WireChange], *, schema_version: int
    ) -> tuple[Change[Any], ...]:
        """Parse the changes of one mutation; raise a private error that names the problem."""
        if not changes or len(changes) > limits.CHANGES_PER_MUTATION_MAX:
            raise _Malformed(
                "change-count", f"a mutation has 1 to {limits.CHANGES_PER_MUTATION_MAX} changes"
            )
        if len(changes) == 1:
            return (self._change(changes[0], schema_version),)
        parsed = tuple(self._change(change, schema_version) for change in changes)
        _require_distinct(parsed)
        return parsed

    def _change(self, change: WireChange, schema_version: int) -> Change[Any]:
        declared = self._app.collections.get(change.collection)
        if declared is None:
            raise _Malformed("unknown-collection", f"no collection {change.collection!r:.60}")
        if not is_id(change.id):
            raise _Malformed("bad-id", f"not a row id: {change.id!r:.80}")
        operation = _OPERATIONS[change.op]
        payloads, base = change.fields, change.base
        if schema_version < self._app.version:
            payloads, base = self._raised(change, schema_version)
        if operation is Operation.INSERT:
            if not is_id(change.space):
                raise _Malformed("bad-space", f"not a space id: {change.space!r:.80}")
        elif payloads and operation is not Operation.EDIT:
            raise _Malformed("fields-not-allowed", f"a {change.op} carries no fields")
        known = declared.fields
        return Change(
            change.collection,
            RowId(change.id),
            operation,
            SpaceId(change.space),
            _parsed(known, payloads),
            base,
            change.seen,
            known,
        )

    def _raised(
        self, change: WireChange, schema_version: int
    ) -> tuple[dict[str, Any], dict[str, int]]:
        """Translate an older app's payloads and bases to the present schema."""
        payloads, base = change.fields, change.base
        try:
            for lens in self._app.lenses_from(change.collection, schema_version):
                payloads, base = lens.raise_payloads(payloads), lens.raise_names(base)
        except FieldError as error:
            raise _Malformed(error.code, error.message) from error
        except Exception as error:
            raise _Malformed("lens-failed", f"A lens raised {type(error).__name__}.") from error
        return payloads, base


def _parsed(known: Mapping[str, Field[Any]], payloads: Mapping[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, payload in payloads.items():
        field = known.get(name)
        if field is None:
            raise _Malformed("unknown-field", f"no field {name!r:.60}", (name[:60],))
        try:
            fields[name] = field.parse(payload)
        except FieldError as error:
            raise _Malformed(error.code, error.message, (name,)) from error
    return fields


def _require_distinct(changes: Sequence[Change[Any]]) -> None:
    """One moment has one write per field: a mutation names each (row, field) at most once."""
    seen: set[tuple[str, str, str]] = set()
    for change in changes:
        for name in change.fields:
            key = (change.collection, change.row, name)
            if key in seen:
                raise _Malformed("field-repeated", f"{name!r} is written twice at once", (name,))
            seen.add(key)


def problem_of(error: Exception) -> Problem | None:
    """Return what `Preparer.changes` found wrong, for callers that answer at once (REST)."""
    return error.problem if isinstance(error, _Malformed) else None
