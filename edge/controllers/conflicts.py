"""GET /v1/conflicts: concurrent writes that lost, with both values, authors and times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from litestar import Response, get

from core.ids import INTEGER_MAX, is_id
from edge.controllers.answer import json_answer
from edge.controllers.endpoints import AnyRequest, Endpoints
from edge.controllers.principal import principal_of
from edge.dto.logs import ConflictAnswer, ConflictPage, ConflictSide
from edge.dto.row_query import LIMIT_DEFAULT, LIMIT_MAX, known_only, query_pairs, whole_number
from edge.errors import InvalidQuery

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from edge.services.history import ConflictRead
    from edge.services.history import ConflictSide as SideRead
    from edge.services.node import Node

PATH: Final = "/v1/conflicts"


class ConflictsController(Endpoints):
    """Lists the conflict log of the rows the caller may read."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def routes(self) -> list[HTTPRouteHandler]:
        """Return the routes."""
        return [get(PATH, name="conflicts.list")(self.browse)]

    async def browse(self, request: AnyRequest) -> Response[bytes]:
        """List conflicts after an id, of one collection, one row or all; oldest first."""
        pairs = query_pairs(request.scope["query_string"])
        known_only(pairs, "collection", "row", "after", "limit")
        collection, row = pairs.get("collection"), pairs.get("row")
        if collection is not None and collection not in self._node.app.collections:
            raise InvalidQuery(f"{collection!r:.60} is not a collection.")
        if row is not None and (collection is None or not is_id(row)):
            raise InvalidQuery("'row' takes a row's id and needs its 'collection'.")
        after = whole_number(pairs.get("after", "0"), name="after", low=0, high=INTEGER_MAX)
        limit = whole_number(
            pairs.get("limit", str(LIMIT_DEFAULT)), name="limit", low=1, high=LIMIT_MAX
        )
        principal = principal_of(request)
        tenant = await self._node.tenant(principal.tenant)
        found = await tenant.conflicts.list(
            principal, collection=collection, row=row, after=after, limit=limit
        )
        return await json_answer(request, ConflictPage([_answer(conflict) for conflict in found]))


def _answer(conflict: ConflictRead) -> ConflictAnswer:
    return ConflictAnswer(
        id=conflict.id,
        sequence=conflict.sequence,
        collection=conflict.collection,
        row=conflict.row,
        space=conflict.space,
        field=conflict.field,
        winner=_side(conflict.winner),
        loser=_side(conflict.loser),
        at_ms=conflict.at_ms,
    )


def _side(side: SideRead) -> ConflictSide:
    return ConflictSide(value=side.value, at_ms=side.at_ms, device=side.device)
