"""The phone's session: a refresh token that rotates, and the access token of the moment.

What holds whatever the network does:
- the session ends by an explicit `invalid-grant` to a refresh, or because the person signs out;
- the next refresh token is durable before the access token that came with it is given out;
- until then the present one is presented again: the server repeats the answer that was lost;
- one refresh at a time; callers who wait for it share its token, and its failure.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from skerry_client.errors import NoAnswer, SignedOut, SignInRefused, VaultUnreadable
from skerry_client.identity.answers import SignedIn
from skerry_client.identity.api import until_clocks_agree
from skerry_client.identity.proofs import DeviceKey

if TYPE_CHECKING:
    from collections.abc import Callable

    from skerry_client.identity.api import IdentityApi
    from skerry_client.identity.vault import TokenStore

REFRESH_PATH: Final = "/v1/auth/refresh"
MARGIN_MS: Final = 30_000
"""A token that ends sooner may not outlive the request it is used for."""
ATTEMPTS_MAX: Final = 2
"""The second one is for a token that another process of the app has saved during the first."""


class Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the vault holds: the device's private key, and the session while there is one."""

    key: str
    tenant: str
    refresh_token: str = ""
    session: str = ""
    person: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class _Access:
    """An access token, when it was got (Unix ms) and how long it is used."""

    token: str
    got_ms: int
    life_ms: int

    def is_good(self, now_ms: int) -> bool:
        """Whether it still lives; a clock that was set back says nothing about that."""
        return 0 <= now_ms - self.got_ms < self.life_ms


class DeviceSession:
    """Keeps one device signed in to one tenant; the vault is the truth, memory a copy of it."""

    def __init__(
        self,
        api: IdentityApi,
        store: TokenStore,
        *,
        tenant: str,
        now_unix_ms: Callable[[], int],
        entropy: Callable[[int], bytes],
    ) -> None:
        self._api = api
        self._store = store
        self._tenant = tenant
        self._now_unix_ms = now_unix_ms
        self._entropy = entropy
        self._kept: Kept | None = None
        self._access: _Access | None = None
        self._one_refresh = asyncio.Lock()
        self._refreshes_ended = 0
        self._trouble: NoAnswer | None = None
        self._clock_offset_s = 0

    @property
    def kept(self) -> Kept | None:
        """What the vault holds; raises VaultUnreadable."""
        if self._kept is None:
            self._kept = self._load()
        return self._kept

    # --- using -------------------------------------------------------------------------------

    async def token(self, *, refused: str = "") -> str:
        """Return an access token that still lives and is not the `refused` one.

        Raises SignedOut, NoAnswer, AccountRefused, and whatever the vault raises.
        """
        good = self._good(refused)
        if good:
            return good
        ended = self._refreshes_ended
        async with self._one_refresh:
            good = self._good(refused)
            if good:
                return good
            if self._trouble is not None and self._refreshes_ended != ended:
                raise NoAnswer(
                    reason=self._trouble.reason, retry_after_ms=self._trouble.retry_after_ms
                )
            self._trouble = None
            try:
                return await self._refresh()
            except NoAnswer as trouble:
                self._trouble = trouble
                raise
            finally:
                self._refreshes_ended += 1

    def proof(self, key: DeviceKey, purpose: str, subject: str) -> dict[str, Any]:
        """Return a new proof about now, as far as the server's clock is known."""
        at_unix_s = max(self._now_unix_ms() // 1_000 + self._clock_offset_s, 0)
        return key.prove(purpose, subject=subject, at_unix_s=at_unix_s, entropy=self._entropy)

    def adopt_time(self, now_unix_s: int) -> None:
        """Make proofs by the server's clock from now on."""
        self._clock_offset_s = now_unix_s - self._now_unix_ms() // 1_000

    # --- changing ----------------------------------------------------------------------------

    def key(self) -> DeviceKey:
        """Return the device's key; a new one is durable before it is used."""
        kept = self.kept
        if kept is None:
            kept = Kept(key=DeviceKey.generate(self._entropy).text(), tenant=self._tenant)
            self._save(kept)
        return DeviceKey.parse(kept.key)

    async def begin(self, key: DeviceKey, signed_in: SignedIn) -> None:
        """Begin the session that a way in has opened, in place of any other."""
        async with self._one_refresh:
            self._keep(key.text(), signed_in)

    async def replace_access(self, session: str, token: str, *, expires_in_s: int) -> None:
        """Use another access token of this session from now on."""
        async with self._one_refresh:
            if self.kept is not None and self.kept.session == session:
                self._access = self._access_of(token, expires_in_s)

    async def rename(self, *, person: str, kind: str) -> None:
        """Note what kind of account the person has now."""
        async with self._one_refresh:
            kept = self.kept
            if kept is not None and kept.person == person and kept.kind != kind:
                self._save(msgspec.structs.replace(kept, kind=kind))

    async def end(self) -> None:
        """Forget the session; the key stays, so that the server knows the device again."""
        async with self._one_refresh:
            self._end()

    async def forget(self) -> None:
        """Forget everything, the key too."""
        async with self._one_refresh:
            self._access = None
            self._store.clear()
            self._kept = None

    # --- refreshing --------------------------------------------------------------------------

    async def _refresh(self) -> str:
        for _ in range(ATTEMPTS_MAX):
            kept = self._latest()
            if kept is None or not kept.refresh_token:
                break
            try:
                signed_in = await self._exchanged(kept)
            except SignInRefused:
                latest = self._latest()
                if latest is not None and latest.refresh_token == kept.refresh_token:
                    self._end()
                continue
            if (signed_in.session, signed_in.person) != (kept.session, kept.person):
                raise NoAnswer(reason="garbage: the answer is about another session")
            return self._keep(kept.key, signed_in)
        raise SignedOut

    async def _exchanged(self, kept: Kept) -> SignedIn:
        key = DeviceKey.parse(kept.key)

        async def attempt() -> SignedIn:
            proof = self.proof(key, "refresh", kept.refresh_token)
            body = {"refresh_token": kept.refresh_token, "proof": proof}
            return await self._api.ask("POST", REFRESH_PATH, body, answer=SignedIn)

        return await until_clocks_agree(attempt, self.adopt_time)

    def _latest(self) -> Kept | None:
        """Return what to refresh with: another process of the app may have saved since."""
        self._kept = self._load()
        return self._kept

    def _keep(self, key: str, signed_in: SignedIn) -> str:
        """Save, and only then use, what the server has given."""
        self._save(
            Kept(
                key=key,
                tenant=self._tenant,
                refresh_token=signed_in.refresh_token,
                session=signed_in.session,
                person=signed_in.person,
                kind=signed_in.kind,
            )
        )
        self._access = self._access_of(signed_in.access_token, signed_in.expires_in)
        return signed_in.access_token

    def _end(self) -> None:
        self._access = None
        kept = self.kept
        if kept is not None:
            self._save(Kept(key=kept.key, tenant=kept.tenant))

    def _good(self, refused: str) -> str:
        access = self._access
        if access is None or access.token == refused or not access.is_good(self._now_unix_ms()):
            return ""
        return access.token

    def _access_of(self, token: str, expires_in_s: int) -> _Access:
        life_ms = expires_in_s * 1_000
        return _Access(token, self._now_unix_ms(), life_ms - min(MARGIN_MS, life_ms // 2))

    def _load(self) -> Kept | None:
        document = self._store.load()
        if document is None:
            return None
        try:
            kept = msgspec.convert(document, Kept)
        except msgspec.ValidationError as problem:
            raise VaultUnreadable(reason=str(problem)) from problem
        if kept.tenant != self._tenant:
            raise VaultUnreadable(reason=f"it belongs to tenant {kept.tenant!r}")
        try:
            DeviceKey.parse(kept.key)
        except ValueError as problem:
            raise VaultUnreadable(reason="the key is none") from problem
        return kept

    def _save(self, kept: Kept) -> None:
        """Save on the event loop: a few milliseconds each ten minutes, and nothing cuts it in two.

        A thread could still be writing when its caller was cancelled and the next refresh begins.
        """
        self._store.save(msgspec.to_builtins(kept))
        self._kept = kept
