"""/v1/rows/{collection}: rows as people and scripts read and write them; each has its routes.

Writes become mutations like a device's: the same policies, rules, merge and receipts.
"""

from __future__ import annotations

import re
from secrets import token_bytes
from time import time_ns
from typing import TYPE_CHECKING, Any, Final

from litestar import Response, Router, delete, get, patch, post
from litestar.params import FromPath

from core.ids import INTEGER_MAX, is_id, new_row_id
from edge.controllers.answer import json_answer
from edge.controllers.body import read_json
from edge.controllers.endpoints import AnyRequest, Endpoints
from edge.controllers.principal import principal_of
from edge.dto.row_query import known_only, query_pairs, row_query
from edge.dto.rows import NewRow, RowAnswer, RowEdit, RowPage, Written
from edge.errors import Forbidden, InvalidQuery, NotFound
from edge.problems import Problem, ProblemError
from sync_protocol.faults import FaultKind
from sync_protocol.messages.push import WireChange

if TYPE_CHECKING:
    from core.schema.collection import Collection
    from edge.services.node import Node, Tenant
    from edge.services.rows import RowRead
    from edge.services.session import Principal
    from sync_protocol.messages.pushed import Receipt

PATH: Final = "/v1/rows"
BODY_BYTES_MAX: Final = 256 * 1024
"""One row written by hand; larger work goes through push."""
_ENTITY_TAG: Final = re.compile(r'(?:W/)?"?(\d{1,16})"?', re.ASCII)


class RowsController(Endpoints):
    """The routes of one collection."""

    def __init__(self, node: Node, declared: type[Collection]) -> None:
        self._node = node
        self._declared = declared
        self._collection: str = declared.collection_name

    def router(self) -> Router:
        """Return the routes."""
        name = self._collection
        return Router(
            f"{PATH}/{name}",
            route_handlers=[
                get(name=f"{name}.list")(self.browse),
                post(name=f"{name}.insert")(self.insert),
                get("/{row_id:str}", name=f"{name}.get")(self.get),
                patch("/{row_id:str}", name=f"{name}.edit")(self.edit),
                delete("/{row_id:str}", status_code=200, name=f"{name}.delete")(self.delete),
                post("/{row_id:str}/restore", status_code=200, name=f"{name}.restore")(
                    self.restore
                ),
            ],
        )

    async def browse(self, request: AnyRequest) -> Response[bytes]:
        """List living rows that the caller may read."""
        query = row_query(self._declared, request.scope["query_string"])
        principal, tenant = await self._who(request)
        found = await tenant.rows.list(principal, self._collection, query)
        return await json_answer(
            request, RowPage(rows=[_answer(row) for row in found.rows], next=found.next)
        )

    async def get(self, request: AnyRequest, row_id: FromPath[str]) -> Response[bytes]:
        """Read one row."""
        known_only(query_pairs(request.scope["query_string"]))
        principal, tenant = await self._who(request)
        row = await tenant.rows.get(principal, self._collection, _checked(row_id))
        return await json_answer(request, _answer(row), headers=_tag(row))

    async def insert(self, request: AnyRequest) -> Response[bytes]:
        """Insert a row."""
        new = await read_json(request, NewRow, bytes_max=BODY_BYTES_MAX)
        row_id = new.id or new_row_id(now_ms=time_ns() // 1_000_000, entropy=token_bytes(10))
        change = WireChange(
            collection=self._collection,
            id=_checked(row_id),
            op="insert",
            space=new.space,
            fields=new.fields,
        )
        return await self._write(request, change, status=201)

    async def edit(self, request: AnyRequest, row_id: FromPath[str]) -> Response[bytes]:
        """Write fields of a row; without `base` the caller has seen the row as it is."""
        edit = await read_json(request, RowEdit, bytes_max=BODY_BYTES_MAX)
        row = await self._seen(request, row_id)
        base = edit.base
        if base is None:
            base = {name: h for name, h in row.versions.items() if name in edit.fields}
        change = WireChange(
            collection=self._collection, id=row.id, op="edit", fields=edit.fields, base=base
        )
        return await self._write(request, change)

    async def delete(self, request: AnyRequest, row_id: FromPath[str]) -> Response[bytes]:
        """Delete a row; `restore` brings it back."""
        row = await self._seen(request, row_id)
        change = WireChange(collection=self._collection, id=row.id, op="delete")
        return await self._write(request, change)

    async def restore(self, request: AnyRequest, row_id: FromPath[str]) -> Response[bytes]:
        """Bring a deleted row back, with everything that was merged into it meanwhile."""
        change = WireChange(collection=self._collection, id=_checked(row_id), op="restore")
        return await self._write(request, change)

    async def _who(self, request: AnyRequest) -> tuple[Principal, Tenant]:
        principal = principal_of(request)
        return principal, await self._node.tenant(principal.tenant)

    async def _seen(self, request: AnyRequest, row_id: str) -> RowRead:
        """Return the row as it is, after checking If-Match against its sequence."""
        principal, tenant = await self._who(request)
        row = await tenant.rows.get(principal, self._collection, _checked(row_id))
        wanted = request.headers.get("if-match")
        if wanted is not None and wanted != "*" and _sequence(wanted) != row.sequence:
            detail = f"The row is at sequence {row.sequence} by now."
            raise ProblemError(Problem(FaultKind.OUT_OF_TURN, detail, status=412))
        return row

    async def _write(
        self, request: AnyRequest, change: WireChange, *, status: int = 200
    ) -> Response[bytes]:
        principal, tenant = await self._who(request)
        receipt = await tenant.writes.apply(principal, [change])
        if receipt.outcome in ("rejected", "quarantined"):
            raise _refusal(receipt)
        if receipt.outcome == "accepted":
            return await json_answer(request, Written(receipt=receipt, row=None), status=202)
        try:
            row = await tenant.rows.get(principal, self._collection, change.id)
        except (NotFound, Forbidden):
            return await json_answer(request, Written(receipt=receipt, row=None), status=status)
        answer = Written(receipt=receipt, row=_answer(row))
        return await json_answer(request, answer, status=status, headers=_tag(row))


def _answer(row: RowRead) -> RowAnswer:
    return RowAnswer(
        id=row.id,
        space=row.space,
        sequence=row.sequence,
        alive=row.alive,
        values=dict(row.values),
        versions=dict(row.versions),
    )


def _tag(row: RowRead) -> dict[str, str]:
    return {"etag": f'"{row.sequence}"'}


def _checked(row_id: str) -> str:
    if not is_id(row_id):
        raise NotFound("There is no such row for you.")
    return row_id


def _sequence(tag: str) -> int:
    match = _ENTITY_TAG.fullmatch(tag.strip())
    if match is None or int(match[1]) > INTEGER_MAX:
        raise InvalidQuery('If-Match takes a row\'s sequence, such as "17", or *.')
    return int(match[1])


def _refusal(receipt: Receipt) -> ProblemError:
    """Return the problem that says why a write was not taken; its receipt comes with it."""
    extra: dict[str, Any] = {
        "code": receipt.code,
        "fields": receipt.fields,
        "receipt": receipt,
    }
    detail = receipt.message or f"The write was {receipt.outcome}."
    if receipt.code == "row-missing":
        return ProblemError(Problem(FaultKind.NOT_FOUND, detail, extra=extra))
    if receipt.code in ("forbidden", "field-forbidden"):
        return ProblemError(Problem(FaultKind.FORBIDDEN, detail, extra=extra))
    fault = FaultKind.MALFORMED if receipt.outcome == "quarantined" else FaultKind.FORBIDDEN
    return ProblemError(Problem(fault, detail, status=422, extra=extra))
