"""The account of the person who uses the phone: ways in, sessions, and tokens for the sync."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar
from urllib.parse import quote

from skerry_client.errors import AccountRefused, ClientError, SignedOut
from skerry_client.identity import answers
from skerry_client.identity.api import IdentityApi, until_clocks_agree
from skerry_client.identity.session import DeviceSession
from skerry_client.identity.vault import FileTokenStore, TokenStore
from sync_protocol.faults import FaultKind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    import httpx

AUTH: Final = "/v1/auth"
ME: Final = "/v1/me"
ANONYMOUS: Final = "anonymous"
A = TypeVar("A")


class Account:
    """Signs a person in and keeps them signed in; `Skerry(..., token=account.token)` syncs as them.

    `store` is a TokenStore or the path of a file; `device_name` is shown in the list of sessions.
    Every method that asks the server raises NoAnswer when there is none, SignInRefused for wrong
    passwords, codes and tokens, AccountRefused for other refusals; those about the person's own
    account raise SignedOut too, and dangerous ones StepUpNeeded. Reading and writing the phone's
    database needs none of this.
    """

    def __init__(
        self,
        url: str,
        store: TokenStore | str | Path,
        *,
        tenant: str = "main",
        device_name: str = "",
        http_transport: httpx.AsyncBaseTransport | None = None,
        now_unix_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._tenant = tenant
        self._device_name = device_name
        self._api = IdentityApi(url, http_transport=http_transport)
        self._session = DeviceSession(
            self._api,
            FileTokenStore(store) if isinstance(store, str | Path) else store,
            tenant=tenant,
            now_unix_ms=now_unix_ms,
            entropy=entropy,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the network; the person stays signed in."""
        await self._api.close()

    # --- staying signed in -------------------------------------------------------------------

    @property
    def person(self) -> str | None:
        """The id of the person who is signed in."""
        kept = self._session.kept
        return kept.person if kept is not None and kept.refresh_token else None

    @property
    def is_signed_in(self) -> bool:
        """Whether somebody is signed in, with or without a network."""
        return self.person is not None

    @property
    def is_anonymous(self) -> bool:
        """Whether the one who is signed in has no way in but this device."""
        kept = self._session.kept
        return kept is not None and bool(kept.refresh_token) and kept.kind == ANONYMOUS

    async def token(self, *, refused: str = "") -> str:
        """Return an access token, refreshed when it is about to end or is the `refused` one."""
        return await self._session.token(refused=refused)

    # --- ways in -----------------------------------------------------------------------------

    async def sign_in_anonymously(self) -> str:
        """Make an account that this device alone can use; returns the person's id."""
        return await self._sign_in("anonymous", {})

    async def sign_in(self, email: str, password: str) -> str:
        """Sign in with address and password; returns the person's id."""
        return await self._sign_in("password", {"email": email, "password": password})

    async def register(self, email: str, password: str) -> str:
        """Have a code mailed that makes an account; returns the flow."""
        return await self._begin("register", {"email": email, "password": password})

    async def finish_registration(self, flow: str, code: str) -> str:
        """Send the code back and sign in; returns the person's id."""
        return await self._sign_in("register/finish", {"flow": flow, "code": code})

    async def request_code(self, email: str) -> str:
        """Have a sign-in code mailed; returns the flow."""
        return await self._begin("code", {"email": email})

    async def sign_in_with_code(self, flow: str, code: str) -> str:
        """Send the code back and sign in; returns the person's id."""
        return await self._sign_in("code/finish", {"flow": flow, "code": code})

    async def request_reset(self, email: str) -> str:
        """Have a code mailed that sets a new password; returns the flow."""
        return await self._begin("reset", {"email": email})

    async def finish_reset(self, flow: str, code: str, password: str) -> str:
        """Send the code back, set the password and sign in; returns the person's id."""
        body = {"flow": flow, "code": code, "password": password}
        return await self._sign_in("reset/finish", body)

    async def begin_oidc(self) -> tuple[str, str]:
        """Return a flow, and the nonce to ask the issuer's ID token with."""
        body = {"tenant": self._tenant}
        path = f"{AUTH}/oidc/begin"
        begun = await self._api.ask("POST", path, body, answer=answers.BegunWithNonce)
        return begun.flow, begun.nonce

    async def sign_in_with_id_token(self, flow: str, id_token: str) -> str:
        """Sign in with another issuer's ID token; returns the person's id."""
        return await self._sign_in("oidc", {"flow": flow, "id_token": id_token})

    # --- the person's own account ------------------------------------------------------------

    async def add_email(self, email: str, password: str | None = None) -> str:
        """Have a code mailed that gives this account an address; returns the flow.

        An anonymous account becomes a named one: the person, and so all their data, stay.
        """
        body = {"email": email, "password": password}
        begun = await self._ask("POST", "/email", body, answer=answers.Begun)
        return begun.flow

    async def finish_email(self, flow: str, code: str) -> None:
        """Send the code back; the account has the address from now on."""
        body = {"flow": flow, "code": code}
        profile = await self._ask("POST", "/email/finish", body, answer=answers.Profile)
        await self._session.rename(person=profile.person, kind=profile.kind)

    async def step_up(self, password: str) -> None:
        """Prove again who one is; dangerous operations are open for a while."""
        kept = self._session.kept
        session = "" if kept is None else kept.session
        body = {"password": password}
        proved = await self._ask("POST", "/step-up", body, answer=answers.Access)
        await self._session.replace_access(
            session, proved.access_token, expires_in_s=proved.expires_in
        )

    async def sessions(self) -> list[answers.DeviceSession]:
        """Return the devices that are signed in, newest first."""
        listed = await self._ask("GET", "/sessions", answer=answers.SessionList)
        return listed.sessions

    async def end_session(self, session: str) -> None:
        """Sign another device out."""
        await self._tell("DELETE", f"/sessions/{quote(session, safe='')}")

    async def sign_out(self) -> bool:
        """Sign out of this device, also without a network; returns whether the server was told.

        Nobody gets back into an anonymous account that was signed out of.
        """
        is_told = False
        with suppress(ClientError):
            await self._tell("POST", "/sign-out")
            is_told = True
        await self._session.end()
        return is_told

    async def delete(self) -> None:
        """Delete the account and its data on the server, and forget this device's key."""
        await self._tell("DELETE", "")
        await self._session.forget()

    # --- parts -------------------------------------------------------------------------------

    async def _begin(self, way: str, body: dict[str, Any]) -> str:
        body["tenant"] = self._tenant
        begun = await self._api.ask("POST", f"{AUTH}/{way}", body, answer=answers.Begun)
        return begun.flow

    async def _sign_in(self, way: str, body: dict[str, Any]) -> str:
        key = self._session.key()

        async def attempt() -> answers.SignedIn:
            device = {
                "key": key.public,
                "name": self._device_name,
                "proof": self._session.proof(key, "sign-in", self._tenant),
            }
            sent = {**body, "tenant": self._tenant, "device": device}
            return await self._api.ask("POST", f"{AUTH}/{way}", sent, answer=answers.SignedIn)

        signed_in = await until_clocks_agree(attempt, self._session.adopt_time)
        await self._session.begin(key, signed_in)
        return signed_in.person

    async def _ask(self, method: str, path: str, body: object = None, *, answer: type[A]) -> A:
        return await self._with_token(
            lambda token: self._api.ask(method, ME + path, body, answer=answer, token=token)
        )

    async def _tell(self, method: str, path: str) -> None:
        await self._with_token(lambda token: self._api.tell(method, ME + path, token=token))

    async def _with_token(self, attempt: Callable[[str], Awaitable[A]]) -> A:
        """Ask with a token, and once more with another one when that is refused."""
        if not self.is_signed_in:
            raise SignedOut
        token = await self.token()
        try:
            return await attempt(token)
        except AccountRefused as refusal:
            if refusal.fault is not FaultKind.UNAUTHENTICATED:
                raise
        return await attempt(await self.token(refused=token))
