"""Explanations for operators: why one person may or may not do one thing to one row, right now."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from core.changes import Operation
from core.explain import READ, Explanation, explain
from core.ids import PRIMARY, DeviceNumber, PersonId, is_id
from edge.errors import InvalidQuery
from edge.services.devices import REST_PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from core.schema.app import App
    from core.schema.collection import Collection
    from edge.ports.stores import Database, Unit

OPERATIONS: Final = (READ, *(operation.value for operation in Operation))


class Explain:
    """Asks the app's policies and rules about one tenant's rows; changes nothing."""

    def __init__(
        self,
        app: App,
        database: Database,
        *,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._app = app
        self._database = database
        self._now_ms = now_ms

    async def explain(
        self,
        *,
        person: str,
        operation: str,
        collection: str,
        row: str,
        space: str | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> Explanation:
        """Explain one operation; `space` is for inserts, other rows are where they are.

        Raises InvalidQuery for an unknown operation or collection, a malformed id, an insert
        without a space.
        """
        declared = self._app.collections.get(collection)
        if declared is None or operation not in OPERATIONS:
            raise InvalidQuery(f"Name a collection of the app, and one of {', '.join(OPERATIONS)}.")
        if not is_id(row) or not is_id(person) or (space is not None and not is_id(space)):
            raise InvalidQuery("Rows, people and spaces are named by ids of 1 to 64 characters.")
        if space is None and operation == Operation.INSERT.value:
            raise InvalidQuery("An insert names its space.")
        work = partial(self._explain, declared, person, operation, row, space or "", fields or {})
        return await self._database.read(work)

    def _explain(  # noqa: PLR0917  (bound by `partial`; named at its only call)
        self,
        declared: type[Collection],
        person: str,
        operation: str,
        row: str,
        space: str,
        fields: Mapping[str, Any],
        unit: Unit,
    ) -> Explanation:
        collection = declared.collection_name
        state = unit.rows.load(collection, [row]).get(row)
        if state is not None and operation != Operation.INSERT.value:
            space = state.space
        member = unit.members.membership(person, space)
        is_of_kind = member is not None and member.kind == declared.space_kind
        device = unit.devices.by_installation(person, f"{REST_PREFIX}{person}")
        return explain(
            self._app,
            person=PersonId(person),
            role=member.role if member is not None and is_of_kind else None,
            operation=operation,
            collection=collection,
            row_state=state,
            fields=fields,
            row=row,
            space=space,
            now_ms=self._now_ms(),
            device=PRIMARY if device is None else DeviceNumber(device.n),
        )
