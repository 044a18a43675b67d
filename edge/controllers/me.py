"""/v1/me: a person's own account, ways in and sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from litestar import Response
from litestar.params import FromPath

from core.identity.accounts import CredentialKind
from edge.controllers.answer import json_answer
from edge.controllers.body import read_json
from edge.controllers.endpoints import AnyRequest
from edge.controllers.operations import DescribedEndpoints
from edge.controllers.principal import principal_of
from edge.controllers.ways_in import BODY_BYTES_MAX, address_of, begun_answer
from edge.dto import identity as dto
from edge.dto.identity_operations import OWN_OPERATIONS
from edge.errors import InvalidQuery
from edge.services.identity.signing import ACCESS_TOKEN_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from litestar.handlers import HTTPRouteHandler

    from core.identity.sessions import Session
    from edge.controllers.exports import Exports
    from edge.services.identity.accounts import Profile
    from edge.services.identity.identity import Identity
    from edge.services.session import Principal

_SHOWN_SUBJECTS: Final = frozenset({CredentialKind.EMAIL.value, CredentialKind.PASSWORD.value})


class MeController(DescribedEndpoints):
    """What people do with their own accounts."""

    def __init__(self, identity: Identity, exports: Exports) -> None:
        self._identity = identity
        self._exports = exports

    def routes(self) -> list[HTTPRouteHandler]:
        """Return the routes."""
        return self.routes_of(OWN_OPERATIONS)

    def handlers(self) -> Mapping[str, Callable[..., Any]]:
        """Return the method of every operation."""
        return {
            "me.get": self.get,
            "me.change": self.change,
            "me.erase": self.erase,
            "me.export": self.export,
            "me.sign_out": self.sign_out,
            "me.sessions": self.sessions,
            "me.sessions.end_others": self.end_others,
            "me.sessions.end": self.end_one,
            "me.step_up.begin": self.begin_step_up,
            "me.step_up": self.step_up,
            "me.email.begin": self.begin_email,
            "me.email.finish": self.finish_email,
            "me.password": self.password,
            "me.oidc.begin": self.begin_oidc,
            "me.oidc": self.oidc,
            "me.passkeys.begin": self.begin_passkey,
            "me.passkeys": self.passkey,
            "me.credentials.remove": self.remove_credential,
        }

    # --- the account -------------------------------------------------------------------------

    async def get(self, request: AnyRequest) -> Response[bytes]:
        """Show the caller's account."""
        return await self._profile(request, principal_of(request))

    async def change(self, request: AnyRequest) -> Response[bytes]:
        """Change the caller's name."""
        principal = principal_of(request)
        body = await read_json(request, dto.ProfileBody, bytes_max=BODY_BYTES_MAX)
        await self._identity.accounts.change(
            principal.tenant, principal.person, name=body.name, actor=principal.person,
            address=address_of(request),
        )  # fmt: skip
        return await self._profile(request, principal)

    async def erase(self, request: AnyRequest) -> Response[None]:
        """Delete the caller's account and what it alone has written."""
        principal = principal_of(request)
        await self._exports.erase_person(
            principal.tenant, principal.person, actor=principal.person, address=address_of(request)
        )
        return Response(None, status_code=204)

    async def export(self, request: AnyRequest) -> Response[bytes]:
        """Export everything that is kept about the caller."""
        principal = principal_of(request)
        return await self._exports.archive(
            principal.tenant, principal.person, actor=principal.person, address=address_of(request)
        )

    # --- sessions ----------------------------------------------------------------------------

    async def sign_out(self, request: AnyRequest) -> Response[None]:
        """End the session of the caller's token."""
        principal = principal_of(request)
        if not principal.session:
            raise InvalidQuery("This token belongs to no session.")
        await self._identity.sessions.end(
            principal.tenant, principal.person, only=principal.session, actor=principal.person,
            reason="sign-out", address=address_of(request),
        )  # fmt: skip
        return Response(None, status_code=204)

    async def sessions(self, request: AnyRequest) -> Response[bytes]:
        """List the caller's active sessions."""
        principal = principal_of(request)
        found = await self._identity.sessions.list(principal.tenant, principal.person)
        return await json_answer(request, session_list(found, current=principal.session))

    async def end_others(self, request: AnyRequest) -> Response[bytes]:
        """End every session of the caller but this one."""
        principal = principal_of(request)
        count = await self._identity.sessions.end(
            principal.tenant, principal.person, but=principal.session, actor=principal.person,
            reason="signed-out-elsewhere", address=address_of(request),
        )  # fmt: skip
        return await json_answer(request, dto.EndedAnswer(count))

    async def end_one(self, request: AnyRequest, session: FromPath[str]) -> Response[None]:
        """End one session of the caller."""
        principal = principal_of(request)
        await self._identity.sessions.end(
            principal.tenant, principal.person, only=session, actor=principal.person,
            reason="signed-out-elsewhere", address=address_of(request),
        )  # fmt: skip
        return Response(None, status_code=204)

    async def begin_step_up(self, request: AnyRequest) -> Response[bytes]:
        """Begin to prove again who the caller is."""
        principal, address = self._in_session(request), address_of(request)
        body = await read_json(request, dto.StepUpBeginBody, bytes_max=BODY_BYTES_MAX)
        options = None
        if body.method == "email":
            begun = await self._identity.passwords.begin_prove(principal, address=address)
        else:
            begun, options = await self._identity.passkeys.begin_prove(principal, address=address)
        return await json_answer(request, dto.StepUpBegun(begun.flow, begun.expires_ms, options))

    async def step_up(self, request: AnyRequest) -> Response[bytes]:
        """Prove again who the caller is; the answer's token says so."""
        principal, address = self._in_session(request), address_of(request)
        body = await read_json(request, dto.StepUpBody, bytes_max=BODY_BYTES_MAX)
        if body.password is not None:
            proved = await self._identity.passwords.prove(principal, body.password, address=address)
        elif body.flow is not None and body.code is not None:
            proved = await self._identity.passwords.finish_prove(
                principal, body.flow, body.code, address=address
            )
        elif body.flow is not None and body.credential is not None:
            proved = await self._identity.passkeys.prove(
                principal, body.flow, body.credential, address=address
            )
        else:
            raise InvalidQuery("Give a password, or a flow with its code or its credential.")
        return await json_answer(request, dto.AccessAnswer(proved.access_token, ACCESS_TOKEN_S))

    # --- ways in -----------------------------------------------------------------------------

    async def begin_email(self, request: AnyRequest) -> Response[bytes]:
        """Begin to give the caller's account an address."""
        principal = self._in_session(request)
        body = await read_json(request, dto.AttachEmailBody, bytes_max=BODY_BYTES_MAX)
        begun = await self._identity.passwords.begin_attach(
            principal, body.email, body.password, address=address_of(request)
        )
        return await json_answer(request, begun_answer(begun), status=202)

    async def finish_email(self, request: AnyRequest) -> Response[bytes]:
        """Give the caller's account the address that a flow has verified."""
        principal = self._in_session(request)
        body = await read_json(request, dto.FinishAttachBody, bytes_max=BODY_BYTES_MAX)
        await self._identity.passwords.finish_attach(
            principal, body.flow, body.code, address=address_of(request)
        )
        return await self._profile(request, principal)

    async def password(self, request: AnyRequest) -> Response[None]:
        """Set the caller's password."""
        principal = self._in_session(request)
        body = await read_json(request, dto.NewPasswordBody, bytes_max=BODY_BYTES_MAX)
        await self._identity.passwords.change(principal, body.password, address=address_of(request))
        return Response(None, status_code=204)

    async def begin_oidc(self, request: AnyRequest) -> Response[bytes]:
        """Get a nonce for linking an issuer."""
        principal = self._in_session(request)
        begun, nonce = await self._identity.issuers.begin(
            principal.tenant, address=address_of(request)
        )
        return await json_answer(request, dto.NonceAnswer(begun.flow, begun.expires_ms, nonce))

    async def oidc(self, request: AnyRequest) -> Response[bytes]:
        """Link an issuer."""
        principal = self._in_session(request)
        body = await read_json(request, dto.AttachIdTokenBody, bytes_max=BODY_BYTES_MAX)
        await self._identity.issuers.attach(
            principal, body.flow, body.id_token, address=address_of(request)
        )
        return await self._profile(request, principal)

    async def begin_passkey(self, request: AnyRequest) -> Response[bytes]:
        """Get options for a new passkey."""
        principal = self._in_session(request)
        begun, options = await self._identity.passkeys.begin_attach(
            principal, address=address_of(request)
        )
        return await json_answer(request, dto.OptionsAnswer(begun.flow, begun.expires_ms, options))

    async def passkey(self, request: AnyRequest) -> Response[bytes]:
        """Add a passkey."""
        principal = self._in_session(request)
        body = await read_json(request, dto.AttachPasskeyBody, bytes_max=BODY_BYTES_MAX)
        await self._identity.passkeys.attach(
            principal, body.flow, body.credential, label=body.label, address=address_of(request)
        )
        return await self._profile(request, principal)

    async def remove_credential(
        self, request: AnyRequest, credential: FromPath[str]
    ) -> Response[None]:
        """Remove a way in."""
        principal = self._in_session(request)
        await self._identity.accounts.remove_credential(
            principal.tenant, principal.person, credential, actor=principal.person,
            address=address_of(request),
        )  # fmt: skip
        return Response(None, status_code=204)

    # --- parts -------------------------------------------------------------------------------

    def _in_session(self, request: AnyRequest) -> Principal:
        principal = principal_of(request)
        if not principal.session:
            raise InvalidQuery("This token belongs to no session.")
        return principal

    async def _profile(self, request: AnyRequest, principal: Principal) -> Response[bytes]:
        found = await self._identity.accounts.profile(principal.tenant, principal.person)
        return await json_answer(request, profile_answer(found))


def profile_answer(profile: Profile) -> dto.ProfileAnswer:
    """Return an account and its ways in; nothing that verifies them."""
    account = profile.account
    return dto.ProfileAnswer(
        account.tenant,
        account.person,
        account.kind.value,
        account.state.value,
        account.name,
        sorted(account.scopes),
        account.created_ms,
        [
            dto.WayIn(
                way.id,
                way.kind,
                way.label,
                way.created_ms,
                way.used_ms,
                way.subject if way.kind in _SHOWN_SUBJECTS else "",
            )
            for way in profile.credentials
        ],
    )


def session_list(found: Iterable[tuple[Session, str]], *, current: str) -> dto.SessionList:
    """Return sessions as they are shown."""
    return dto.SessionList(
        [
            dto.SessionAnswer(
                session.id,
                session.device,
                name,
                session.created_ms,
                session.refreshed_ms,
                session.expires_ms,
                list(session.methods),
                session.id == current,
            )
            for session, name in found
        ]
    )
