"""/v1/admin: one tenant's accounts, service tokens, audit trail and settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from litestar import Response
from litestar.params import FromPath

from core.identity.accounts import AccountState
from core.ids import INTEGER_MAX, PersonId, is_id
from edge.controllers.answer import json_answer
from edge.controllers.body import read_json
from edge.controllers.endpoints import AnyRequest
from edge.controllers.me import profile_answer, session_list
from edge.controllers.operations import DescribedEndpoints
from edge.controllers.principal import principal_of
from edge.controllers.ways_in import address_of
from edge.dto import administration as dto
from edge.dto import identity as own
from edge.dto.administration_operations import ADMIN_OPERATIONS
from edge.dto.row_query import known_only, query_pairs, whole_number
from edge.errors import InvalidQuery, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from litestar.handlers import HTTPRouteHandler

    from core.explain import Explanation
    from core.identity.accounts import Account
    from core.identity.tenants import TenantEntry
    from edge.controllers.exports import Exports
    from edge.ports.identity_records import AuditRecord
    from edge.services.identity.identity import Identity
    from edge.services.node import Node

BODY_BYTES_MAX: Final = 64 * 1024
LIMIT_DEFAULT: Final = 100
LIMIT_MAX: Final = 1_000


class AdministrationController(DescribedEndpoints):
    """What administrators do for their own tenant; no path or body names another."""

    def __init__(self, node: Node, identity: Identity, exports: Exports) -> None:
        self._node = node
        self._identity = identity
        self._exports = exports

    def routes(self) -> list[HTTPRouteHandler]:
        """Return the routes."""
        return self.routes_of(ADMIN_OPERATIONS)

    def handlers(self) -> Mapping[str, Callable[..., Any]]:
        """Return the method of every operation."""
        return {
            "admin.accounts": self.accounts,
            "admin.account": self.account,
            "admin.account.change": self.change_account,
            "admin.account.erase": self.erase_account,
            "admin.account.export": self.export_account,
            "admin.account.sessions": self.account_sessions,
            "admin.account.sign_out": self.sign_account_out,
            "admin.service_tokens": self.service_tokens,
            "admin.service_tokens.create": self.create_service_token,
            "admin.service_tokens.revoke": self.revoke_service_token,
            "admin.audit": self.audit,
            "admin.explain": self.explain,
            "admin.tenant": self.tenant,
            "admin.tenant.change": self.change_tenant,
            "admin.export": self.export,
        }

    async def accounts(self, request: AnyRequest) -> Response[bytes]:
        """List accounts."""
        principal = principal_of(request)
        after, limit = page_of(request, after_default="")
        found = await self._identity.accounts.list(principal.tenant, after=str(after), limit=limit)
        return await json_answer(request, dto.AccountList([account_answer(a) for a in found]))

    async def account(self, request: AnyRequest, person: FromPath[str]) -> Response[bytes]:
        """Show one account."""
        principal = principal_of(request)
        found = await self._identity.accounts.profile(principal.tenant, person)
        return await json_answer(request, profile_answer(found))

    async def change_account(self, request: AnyRequest, person: FromPath[str]) -> Response[bytes]:
        """Disable, rename or give scopes."""
        principal = principal_of(request)
        body = await read_json(request, dto.AccountChange, bytes_max=BODY_BYTES_MAX)
        changed = await self._identity.accounts.change(
            principal.tenant,
            person,
            actor=principal.person,
            address=address_of(request),
            name=body.name,
            state=None if body.state is None else AccountState(body.state),
            scopes=body.scopes,
        )
        return await json_answer(request, account_answer(changed))

    async def erase_account(self, request: AnyRequest, person: FromPath[str]) -> Response[None]:
        """Erase a person."""
        principal = principal_of(request)
        await self._exports.erase_person(
            principal.tenant, _person(person), actor=principal.person, address=address_of(request)
        )
        return Response(None, status_code=204)

    async def export_account(self, request: AnyRequest, person: FromPath[str]) -> Response[bytes]:
        """Export a person's data."""
        principal = principal_of(request)
        return await self._exports.archive(
            principal.tenant, _person(person), actor=principal.person, address=address_of(request)
        )

    async def account_sessions(self, request: AnyRequest, person: FromPath[str]) -> Response[bytes]:
        """List a person's sessions."""
        principal = principal_of(request)
        await self._identity.accounts.profile(principal.tenant, person)
        found = await self._identity.sessions.list(principal.tenant, person)
        return await json_answer(request, session_list(found, current=""))

    async def sign_account_out(self, request: AnyRequest, person: FromPath[str]) -> Response[bytes]:
        """End a person's sessions."""
        principal = principal_of(request)
        await self._identity.accounts.profile(principal.tenant, person)
        count = await self._identity.sessions.end(
            principal.tenant, person, actor=principal.person, reason="administrator",
            address=address_of(request),
        )  # fmt: skip
        return await json_answer(request, own.EndedAnswer(count))

    async def service_tokens(self, request: AnyRequest) -> Response[bytes]:
        """List service tokens."""
        principal = principal_of(request)
        after, _ = page_of(request, after_default="")
        found = await self._identity.service_tokens.list(principal.tenant, after=str(after))
        tokens = [dto.ServiceTokenAnswer(t.id, t.person, t.label, t.created_ms) for t in found]
        return await json_answer(request, dto.ServiceTokenList(tokens))

    async def create_service_token(self, request: AnyRequest) -> Response[bytes]:
        """Make a service token."""
        principal = principal_of(request)
        body = await read_json(request, dto.NewServiceToken, bytes_max=BODY_BYTES_MAX)
        record, token = await self._identity.service_tokens.create(
            principal.tenant, name=body.name, scopes=body.scopes, actor=principal.person,
            address=address_of(request),
        )  # fmt: skip
        made = dto.NewServiceTokenAnswer(record.id, record.person, token)
        return await json_answer(request, made, status=201)

    async def revoke_service_token(
        self, request: AnyRequest, token: FromPath[str]
    ) -> Response[None]:
        """Revoke a service token."""
        principal = principal_of(request)
        await self._identity.service_tokens.revoke(
            principal.tenant, token, actor=principal.person, address=address_of(request)
        )
        return Response(None, status_code=204)

    async def audit(self, request: AnyRequest) -> Response[bytes]:
        """Show the audit trail."""
        principal = principal_of(request)
        after, limit = page_of(request, after_default=0, further={"subject"})
        subject = query_pairs(request.scope["query_string"]).get("subject")
        found = await self._identity.audit.list(
            principal.tenant, subject=subject, after=int(after), limit=limit
        )
        return await json_answer(request, audit_page(found))

    async def explain(self, request: AnyRequest) -> Response[bytes]:
        """Say which rule allows or denies an operation."""
        principal = principal_of(request)
        body = await read_json(request, dto.ExplainBody, bytes_max=BODY_BYTES_MAX)
        tenant = await self._node.tenant(principal.tenant)
        found = await tenant.explain.explain(
            person=PersonId(body.person),
            operation=body.operation,
            collection=body.collection,
            row=body.row,
            space=body.space,
            fields=body.fields,
        )
        return await json_answer(request, explain_answer(found))

    async def tenant(self, request: AnyRequest) -> Response[bytes]:
        """Show the caller's tenant."""
        entry = await self._identity.tenants.get(principal_of(request).tenant)
        return await json_answer(request, tenant_answer(entry))

    async def change_tenant(self, request: AnyRequest) -> Response[bytes]:
        """Configure the caller's tenant."""
        principal = principal_of(request)
        body = await read_json(request, dto.TenantSettingsChange, bytes_max=BODY_BYTES_MAX)
        changed = await self._identity.tenants.configure(
            principal.tenant, anonymous=body.anonymous, registration=body.registration,
            actor=principal.person, address=address_of(request),
        )  # fmt: skip
        return await json_answer(request, tenant_answer(changed))

    async def export(self, request: AnyRequest) -> Response[bytes]:
        """Export the caller's tenant."""
        principal = principal_of(request)
        return await self._exports.archive(
            principal.tenant, None, actor=principal.person, address=address_of(request)
        )


def account_answer(account: Account) -> dto.AccountAnswer:
    """Return an account as it is shown."""
    return dto.AccountAnswer(
        account.person,
        account.kind.value,
        account.state.value,
        account.name,
        sorted(account.scopes),
        account.created_ms,
    )


def explain_answer(found: Explanation) -> dto.ExplainAnswer:
    """Return an explanation as it is shown; `code` and `message` are empty when it is allowed."""
    steps = [dto.ExplainStep(step.subject, step.answer.value, step.detail) for step in found.steps]
    told = found.rejection
    if told is None:
        return dto.ExplainAnswer(True, "", "", steps)
    return dto.ExplainAnswer(False, told.code, told.message, steps)


def tenant_answer(entry: TenantEntry) -> dto.TenantAnswer:
    """Return a tenant as it is shown."""
    return dto.TenantAnswer(
        entry.tenant,
        entry.state.value,
        list(entry.regions),
        entry.settings.anonymous,
        entry.settings.registration,
        entry.created_ms,
    )


def audit_page(found: Iterable[AuditRecord]) -> dto.AuditPage:
    """Return entries of the trail as they are shown."""
    return dto.AuditPage(
        [
            dto.AuditEntry(
                entry.id,
                entry.at_ms,
                entry.actor,
                entry.action,
                entry.subject,
                entry.address,
                entry.detail,
            )
            for entry in found
        ]
    )


def page_of(
    request: AnyRequest, *, after_default: str | int, further: Iterable[str] = ()
) -> tuple[str | int, int]:
    """Return `after` and `limit` of a query; raises InvalidQuery."""
    pairs = query_pairs(request.scope["query_string"])
    known_only(pairs, "after", "limit", *further)
    limit = whole_number(
        pairs.get("limit", str(LIMIT_DEFAULT)), name="limit", low=1, high=LIMIT_MAX
    )
    text = pairs.get("after", str(after_default))
    if isinstance(after_default, int):
        return whole_number(text, name="after", low=0, high=INTEGER_MAX), limit
    if text and not is_id(text):
        raise InvalidQuery("'after' is the id of the last entry of the page before.")
    return text, limit


def _person(text: str) -> PersonId:
    if not is_id(text):
        raise NotFound("There is no such person.")
    return PersonId(text)
