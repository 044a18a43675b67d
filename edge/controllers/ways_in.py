"""/v1/auth: ways in, refreshing, and the keys that verify tokens. Nobody has a token here yet."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from typing import TYPE_CHECKING, Any, Final, TypeVar

from litestar import Response

from core.identity.proofs import Proof
from edge.controllers.answer import json_answer
from edge.controllers.body import read_json
from edge.controllers.endpoints import AnyRequest
from edge.controllers.operations import DescribedEndpoints
from edge.dto import identity as dto
from edge.dto.identity_operations import ENTRY_OPERATIONS
from edge.services.identity.models import NewDevice
from edge.services.identity.signing import ACCESS_TOKEN_S, jwks
from edge.services.limits import LimitKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from litestar.handlers import HTTPRouteHandler

    from edge.services.identity.identity import Identity
    from edge.services.identity.models import Begun, SignedIn

BODY_BYTES_MAX: Final = 32 * 1024
"""An ID token has up to 16 KiB, a passkey's answer a few."""
_KEYS_AGE: Final = {"cache-control": "public, max-age=60"}
T = TypeVar("T")


class WaysIn(DescribedEndpoints):
    """Signs people in."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    def routes(self) -> list[HTTPRouteHandler]:
        """Return the routes."""
        return self.routes_of(ENTRY_OPERATIONS)

    def handlers(self) -> Mapping[str, Callable[..., Any]]:
        """Return the method of every operation."""
        return {
            "auth.anonymous": self.anonymous,
            "auth.password": self.password,
            "auth.register": self.register,
            "auth.register.finish": self.finish_registration,
            "auth.code": self.code,
            "auth.code.finish": self.finish_code,
            "auth.reset": self.reset,
            "auth.reset.finish": self.finish_reset,
            "auth.oidc.begin": self.begin_oidc,
            "auth.oidc": self.oidc,
            "auth.passkey.begin": self.begin_passkey,
            "auth.passkey": self.passkey,
            "auth.service": self.service,
            "auth.refresh": self.refresh,
            "keys.published": self.keys,
        }

    async def anonymous(self, request: AnyRequest) -> Response[bytes]:
        """Make an anonymous account."""
        body = await _read(request, dto.AnonymousBody)
        address = address_of(request)
        self._identity.limits.require(LimitKind.REGISTER, tenant=body.tenant, address=address)
        device = device_of(body.device)
        signed_in = await self._identity.entry.anonymous(body.tenant, device, address=address)
        return await json_answer(request, signed_in_answer(signed_in))

    async def password(self, request: AnyRequest) -> Response[bytes]:
        """Sign in with address and password."""
        body = await _read(request, dto.PasswordBody)
        signed_in = await self._identity.passwords.sign_in(
            body.tenant, body.email, body.password, device_of(body.device),
            address=address_of(request),
        )  # fmt: skip
        return await json_answer(request, signed_in_answer(signed_in))

    async def register(self, request: AnyRequest) -> Response[bytes]:
        """Begin to register."""
        body = await _read(request, dto.RegisterBody)
        begun = await self._identity.passwords.begin_registration(
            body.tenant, body.email, body.password, address=address_of(request)
        )
        return await json_answer(request, begun_answer(begun), status=202)

    async def finish_registration(self, request: AnyRequest) -> Response[bytes]:
        """Finish registering."""
        body = await _read(request, dto.FinishBody)
        signed_in = await self._identity.passwords.finish_registration(
            body.tenant, body.flow, body.code, device_of(body.device), address=address_of(request)
        )
        return await json_answer(request, signed_in_answer(signed_in))

    async def code(self, request: AnyRequest) -> Response[bytes]:
        """Have a sign-in code mailed."""
        body = await _read(request, dto.EmailBody)
        begun = await self._identity.passwords.begin_code(
            body.tenant, body.email, address=address_of(request)
        )
        return await json_answer(request, begun_answer(begun), status=202)

    async def finish_code(self, request: AnyRequest) -> Response[bytes]:
        """Sign in with a mailed code."""
        body = await _read(request, dto.FinishBody)
        signed_in = await self._identity.passwords.finish_code(
            body.tenant, body.flow, body.code, device_of(body.device), address=address_of(request)
        )
        return await json_answer(request, signed_in_answer(signed_in))

    async def reset(self, request: AnyRequest) -> Response[bytes]:
        """Have a reset code mailed."""
        body = await _read(request, dto.EmailBody)
        begun = await self._identity.passwords.begin_reset(
            body.tenant, body.email, address=address_of(request)
        )
        return await json_answer(request, begun_answer(begun), status=202)

    async def finish_reset(self, request: AnyRequest) -> Response[bytes]:
        """Set a new password and sign in."""
        body = await _read(request, dto.ResetBody)
        signed_in = await self._identity.passwords.finish_reset(
            body.tenant, body.flow, body.code, body.password, device_of(body.device),
            address=address_of(request),
        )  # fmt: skip
        return await json_answer(request, signed_in_answer(signed_in))

    async def begin_oidc(self, request: AnyRequest) -> Response[bytes]:
        """Get a nonce for an ID token."""
        body = await _read(request, dto.TenantBody)
        begun, nonce = await self._identity.issuers.begin(body.tenant, address=address_of(request))
        return await json_answer(request, dto.NonceAnswer(begun.flow, begun.expires_ms, nonce))

    async def oidc(self, request: AnyRequest) -> Response[bytes]:
        """Sign in with an ID token."""
        body = await _read(request, dto.IdTokenBody)
        signed_in = await self._identity.issuers.sign_in(
            body.tenant, body.flow, body.id_token, device_of(body.device),
            address=address_of(request),
        )  # fmt: skip
        return await json_answer(request, signed_in_answer(signed_in))

    async def begin_passkey(self, request: AnyRequest) -> Response[bytes]:
        """Get options for signing in with a passkey."""
        body = await _read(request, dto.TenantBody)
        begun, options = await self._identity.passkeys.begin(
            body.tenant, address=address_of(request)
        )
        return await json_answer(request, dto.OptionsAnswer(begun.flow, begun.expires_ms, options))

    async def passkey(self, request: AnyRequest) -> Response[bytes]:
        """Sign in with a passkey."""
        body = await _read(request, dto.PasskeyBody)
        signed_in = await self._identity.passkeys.sign_in(
            body.tenant, body.flow, body.credential, device_of(body.device),
            address=address_of(request),
        )  # fmt: skip
        return await json_answer(request, signed_in_answer(signed_in))

    async def service(self, request: AnyRequest) -> Response[bytes]:
        """Exchange a service token for an access token."""
        body = await _read(request, dto.ServiceTokenBody)
        token = await self._identity.service_tokens.exchange(
            body.token, address=address_of(request)
        )
        return await json_answer(request, dto.AccessAnswer(token, ACCESS_TOKEN_S))

    async def refresh(self, request: AnyRequest) -> Response[bytes]:
        """Exchange a refresh token for the next one."""
        body = await _read(request, dto.RefreshBody)
        address = address_of(request)
        self._identity.limits.require(LimitKind.REFRESH, address=address)
        signed_in = await self._identity.sessions.refresh(
            body.refresh_token, proof_of(body.proof), address=address
        )
        return await json_answer(request, signed_in_answer(signed_in))

    async def keys(self, request: AnyRequest) -> Response[bytes]:
        """Publish the keys that verify tokens."""
        document = jwks(self._identity.trust.keys())
        return await json_answer(request, document, headers=_KEYS_AGE)


def address_of(request: AnyRequest) -> str:
    """Return the address the gate has found out."""
    return str(request.scope["state"].get("address", ""))


def device_of(body: dto.DeviceBody) -> NewDevice:
    """Return the device that signs in."""
    return NewDevice(_bytes(body.key), body.name, proof_of(body.proof))


def proof_of(body: dto.ProofBody) -> Proof:
    """Return a proof as the domain has it."""
    return Proof(body.at, body.nonce, _bytes(body.signature))


def signed_in_answer(signed_in: SignedIn) -> dto.SignedInAnswer:
    """Return what a device is told that has signed in or refreshed."""
    session = signed_in.session
    return dto.SignedInAnswer(
        signed_in.access_token,
        signed_in.expires_in_s,
        signed_in.refresh_token,
        session.id,
        session.generation,
        session.tenant,
        session.person,
        signed_in.account.kind.value,
    )


def begun_answer(begun: Begun) -> dto.BegunAnswer:
    """Return what is told of a flow."""
    return dto.BegunAnswer(begun.flow, begun.expires_ms)


async def _read(request: AnyRequest, kind: type[T]) -> T:
    return await read_json(request, kind, bytes_max=BODY_BYTES_MAX)


def _bytes(text: str) -> bytes:
    """Decode base64url; the alphabet and the length were checked with the body."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
