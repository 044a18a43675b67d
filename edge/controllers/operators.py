"""/v1/operator: tenants and signing keys of the whole installation, for operators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litestar import Response
from litestar.params import FromPath

from core.identity.tenants import TenantState
from core.ids import TenantId
from edge.controllers.administration import BODY_BYTES_MAX, audit_page, page_of, tenant_answer
from edge.controllers.answer import json_answer
from edge.controllers.body import read_json
from edge.controllers.endpoints import AnyRequest
from edge.controllers.operations import DescribedEndpoints
from edge.controllers.principal import principal_of
from edge.controllers.ways_in import address_of
from edge.dto import administration as dto
from edge.dto.administration_operations import OPERATOR_OPERATIONS
from edge.services.identity.audit import INSTALLATION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from litestar.handlers import HTTPRouteHandler

    from core.identity.keys import NodeKey
    from edge.controllers.exports import Exports
    from edge.services.identity.identity import Identity


class OperatorController(DescribedEndpoints):
    """What operators do for all tenants."""

    def __init__(self, identity: Identity, exports: Exports) -> None:
        self._identity = identity
        self._exports = exports

    def routes(self) -> list[HTTPRouteHandler]:
        """Return the routes."""
        return self.routes_of(OPERATOR_OPERATIONS)

    def handlers(self) -> Mapping[str, Callable[..., Any]]:
        """Return the method of every operation."""
        return {
            "operator.tenants": self.tenants,
            "operator.tenants.create": self.create_tenant,
            "operator.tenant": self.tenant,
            "operator.tenant.change": self.change_tenant,
            "operator.tenant.erase": self.erase_tenant,
            "operator.tenant.export": self.export_tenant,
            "operator.keys": self.keys,
            "operator.keys.rotate": self.rotate,
            "operator.keys.revoke": self.revoke,
            "operator.audit": self.audit,
        }

    async def tenants(self, request: AnyRequest) -> Response[bytes]:
        """List tenants."""
        found = await self._identity.tenants.list()
        return await json_answer(request, dto.TenantList([tenant_answer(t) for t in found]))

    async def create_tenant(self, request: AnyRequest) -> Response[bytes]:
        """Make a tenant."""
        body = await read_json(request, dto.NewTenant, bytes_max=BODY_BYTES_MAX)
        made = await self._identity.tenants.create(
            body.tenant, regions=body.regions, actor=principal_of(request).person,
            address=address_of(request),
        )  # fmt: skip
        return await json_answer(request, tenant_answer(made), status=201)

    async def tenant(self, request: AnyRequest, tenant: FromPath[str]) -> Response[bytes]:
        """Show one tenant."""
        return await json_answer(request, tenant_answer(await self._identity.tenants.get(tenant)))

    async def change_tenant(self, request: AnyRequest, tenant: FromPath[str]) -> Response[bytes]:
        """Suspend, resume, pin or configure a tenant."""
        body = await read_json(request, dto.TenantChange, bytes_max=BODY_BYTES_MAX)
        actor, address = principal_of(request).person, address_of(request)
        changed = await self._identity.tenants.configure(
            tenant,
            anonymous=body.anonymous,
            registration=body.registration,
            state=None if body.state is None else TenantState(body.state),
            regions=body.regions,
            actor=actor,
            address=address,
        )
        return await json_answer(request, tenant_answer(changed))

    async def erase_tenant(self, request: AnyRequest, tenant: FromPath[str]) -> Response[None]:
        """Erase a tenant for ever."""
        await self._identity.tenants.erase(
            tenant, actor=principal_of(request).person, address=address_of(request)
        )
        return Response(None, status_code=204)

    async def export_tenant(self, request: AnyRequest, tenant: FromPath[str]) -> Response[bytes]:
        """Export a tenant."""
        await self._identity.tenants.get(tenant)
        return await self._exports.archive(
            TenantId(tenant), None, actor=principal_of(request).person,
            address=address_of(request),
        )  # fmt: skip

    async def keys(self, request: AnyRequest) -> Response[bytes]:
        """List signing keys."""
        found = await self._identity.signing.list()
        return await json_answer(request, dto.KeyList([_key(key) for key in found]))

    async def rotate(self, request: AnyRequest) -> Response[bytes]:
        """Sign with the standby key from now on."""
        active = await self._identity.signing.rotate(
            actor=principal_of(request).person, address=address_of(request)
        )
        return await json_answer(request, _key(active), status=200)

    async def revoke(self, request: AnyRequest, kid: FromPath[str]) -> Response[bytes]:
        """Revoke a key."""
        revoked = await self._identity.signing.revoke(
            kid, actor=principal_of(request).person, address=address_of(request)
        )
        return await json_answer(request, _key(revoked), status=200)

    async def audit(self, request: AnyRequest) -> Response[bytes]:
        """Show the installation's audit trail."""
        after, limit = page_of(request, after_default=0)
        found = await self._identity.audit.list(INSTALLATION, after=int(after), limit=limit)
        return await json_answer(request, audit_page(found))


def _key(key: NodeKey) -> dto.KeyAnswer:
    return dto.KeyAnswer(key.kid, key.node, key.state.value, key.created_ms, key.changed_ms)
