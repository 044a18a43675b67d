"""GET /v1/receipts: the durable outcomes of the caller's own mutations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from litestar import Response, get

from core.ids import DEVICE_NUMBER_MAX, INTEGER_MAX
from edge.controllers.answer import json_answer
from edge.controllers.endpoints import AnyRequest, Endpoints
from edge.controllers.principal import principal_of
from edge.dto.logs import ReceiptAnswer, ReceiptPage
from edge.dto.row_query import LIMIT_DEFAULT, LIMIT_MAX, known_only, query_pairs, whole_number
from edge.errors import InvalidQuery

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from edge.services.history import ReceiptRead
    from edge.services.node import Node

PATH: Final = "/v1/receipts"


class ReceiptsController(Endpoints):
    """Lists receipts in counter order."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def routes(self) -> list[HTTPRouteHandler]:
        """Return the routes."""
        return [get(PATH, name="receipts.list")(self.browse)]

    async def browse(self, request: AnyRequest) -> Response[bytes]:
        """List receipts of one of the caller's devices after a counter."""
        pairs = query_pairs(request.scope["query_string"])
        known_only(pairs, "device", "after", "limit")
        if "device" not in pairs:
            raise InvalidQuery("'device' says whose receipts are asked for.")
        device = whole_number(pairs["device"], name="device", low=1, high=DEVICE_NUMBER_MAX)
        after = whole_number(pairs.get("after", "0"), name="after", low=0, high=INTEGER_MAX)
        limit = whole_number(
            pairs.get("limit", str(LIMIT_DEFAULT)), name="limit", low=1, high=LIMIT_MAX
        )
        principal = principal_of(request)
        tenant = await self._node.tenant(principal.tenant)
        found = await tenant.receipts.list(principal, device=device, after=after, limit=limit)
        return await json_answer(request, ReceiptPage([_answer(receipt) for receipt in found]))


def _answer(receipt: ReceiptRead) -> ReceiptAnswer:
    return ReceiptAnswer(
        device=receipt.device,
        counter=receipt.counter,
        outcome=receipt.outcome,
        sequence=receipt.sequence,
        code=receipt.code,
        message=receipt.message,
        fields=receipt.fields,
        conflicts=receipt.conflicts,
    )
