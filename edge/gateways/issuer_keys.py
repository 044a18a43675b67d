"""The public keys of trusted issuers: fetched over HTTP, remembered, fetched again.

Invariants
  F1  keys come over https without redirects (http on this machine only), in FETCH_S_MAX and
      BODY_BYTES_MAX; a discovery document speaks for exactly the issuer that was asked
  F2  an issuer is asked by one request at a time, however many wait, and at most once in
      REFETCH_S_MIN for keys it has or has not (RETRY_S_MIN while there are none at all)
  F3  keys are fresh for FRESH_S_MIN to FRESH_S_MAX, as the issuer says, and serve STALE_S_MAX more
      while it is away; after that they are worth nothing
"""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import httpx
import msgspec

from edge.errors import Unavailable
from edge.gateways.issuer_key_set import IssuerKey, chosen, parse_keys
from edge.gateways.issuer_settings import is_fetchable

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.ports.issuers import Issuer

FETCH_S_MAX: Final = 5.0
"""For discovery and keys together: somebody waits at a sign-in screen."""
BODY_BYTES_MAX: Final = 262_144
"""A set of KEYS_MAX keys with their certificates has some 150 KiB; issuers send 1 to 10."""
FRESH_S_MIN: Final = 300.0
FRESH_S_MAX: Final = 86_400.0
"""A day: how long a key that the issuer has withdrawn is believed in at most, if it answers."""
STALE_S_MAX: Final = 86_400.0
"""An issuer that is away for a day must not lock people out."""
REFETCH_S_MIN: Final = 60.0
"""A made-up `kid` costs an attacker nothing, so it must cost us and the issuer nearly nothing."""
RETRY_S_MIN: Final = 5.0
"""Without any keys nobody can sign in: ask again soon, but not for every one who tries."""
CONNECTIONS_MAX: Final = 20
"""One for each issuer there can be; see F2."""
_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=(\d{1,9})(?:$|[\s,])", re.ASCII | re.IGNORECASE)
_SECONDS = re.compile(r"\d{1,9}", re.ASCII)
_LOOPBACK: Final = ("all://localhost", "all://127.0.0.1", "all://[::1]")


class _FetchFailed(Exception):
    """Keys were not had; the cause is of no use to who signs in."""


class _Discovery(msgspec.Struct):
    issuer: str
    jwks_uri: str


@dataclass(frozen=True, slots=True)
class _Fetched:
    keys: tuple[IssuerKey, ...]
    fresh_s: float


@dataclass(slots=True)
class _Remembered:
    """What is known of one issuer; times are those of the injected clock."""

    keys: tuple[IssuerKey, ...] = ()
    fresh_until_s: float = float("-inf")
    asked_s: float = float("-inf")
    fetching: asyncio.Task[None] | None = field(default=None, repr=False)


class IssuerKeys:
    """Finds the key that a token names; `clock` is monotonic seconds."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._remembered: dict[Issuer, _Remembered] = {}
        self._client = httpx.AsyncClient(
            follow_redirects=False,
            timeout=FETCH_S_MAX,
            limits=httpx.Limits(max_connections=CONNECTIONS_MAX, max_keepalive_connections=0),
            # Only what arrives is counted, so it must not unfold afterwards.
            headers={"accept": "application/json", "accept-encoding": "identity"},
            # A proxy of the environment is used, but not to reach this machine.
            mounts=dict.fromkeys(_LOOPBACK),
        )

    async def find(self, issuer: Issuer, kid: str | None) -> IssuerKey | None:
        """Return the issuer's key of this id, None if there is none; raise Unavailable."""
        remembered = self._remembered.setdefault(issuer, _Remembered())
        key = chosen(remembered.keys, kid)
        if key is None or self._clock() >= remembered.fresh_until_s:
            await self._ask_again(issuer, remembered)
            key = chosen(remembered.keys, kid)
        if not remembered.keys or self._clock() >= remembered.fresh_until_s + STALE_S_MAX:
            raise Unavailable(f"The keys of {issuer.issuer} are out of reach.")
        return key

    async def close(self) -> None:
        """End what is being fetched and close the connections."""
        tasks = [r.fetching for r in self._remembered.values() if r.fetching is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.aclose()

    async def _ask_again(self, issuer: Issuer, remembered: _Remembered) -> None:
        task = remembered.fetching
        if task is None:
            wait_s = REFETCH_S_MIN if remembered.keys else RETRY_S_MIN
            if self._client.is_closed or self._clock() - remembered.asked_s < wait_s:
                return
            remembered.asked_s = self._clock()
            task = asyncio.create_task(self._refresh(issuer, remembered))
            remembered.fetching = task
        # Whoever gives up leaves the others waiting; a task that close() has ended is no failure.
        await asyncio.wait([task])

    async def _refresh(self, issuer: Issuer, remembered: _Remembered) -> None:
        try:
            fetched = await self._fetch(issuer)
        except _FetchFailed:
            return
        finally:
            remembered.fetching = None
        remembered.keys = fetched.keys
        remembered.fresh_until_s = self._clock() + fetched.fresh_s

    async def _fetch(self, issuer: Issuer) -> _Fetched:
        try:
            async with asyncio.timeout(FETCH_S_MAX):
                url = issuer.jwks_url or await self._discover(issuer)
                content, headers = await self._get(url)
            return _Fetched(parse_keys(content), _fresh_s(headers))
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, RecursionError):
            raise _FetchFailed from None

    async def _discover(self, issuer: Issuer) -> str:
        """Return where the keys are (OpenID Connect Discovery 1.0, section 4)."""
        content, _ = await self._get(
            issuer.issuer.removesuffix("/") + "/.well-known/openid-configuration"
        )
        found = msgspec.json.decode(content, type=_Discovery)
        if found.issuer != issuer.issuer or not is_fetchable(
            found.jwks_uri, named_by=issuer.issuer
        ):
            raise _FetchFailed
        return found.jwks_uri

    async def _get(self, url: str) -> tuple[bytes, httpx.Headers]:
        async with self._client.stream("GET", url) as response:
            encoding = response.headers.get("content-encoding", "identity")
            if response.status_code != HTTPStatus.OK or encoding != "identity":
                raise _FetchFailed
            content = bytearray()
            async for chunk in response.aiter_raw():
                content += chunk
                if len(content) > BODY_BYTES_MAX:
                    raise _FetchFailed
            return bytes(content), response.headers


def _fresh_s(headers: httpx.Headers) -> float:
    """Return for how long an answer may be used (RFC 9111, 4.2), within our bounds."""
    directives = headers.get("cache-control", "")
    match = _MAX_AGE.search(directives)
    if match is None or re.search(r"no-(?:store|cache)", directives, re.IGNORECASE):
        return FRESH_S_MIN
    age = headers.get("age", "")
    spent_s = int(age) if _SECONDS.fullmatch(age) else 0
    return min(max(float(int(match[1]) - spent_s), FRESH_S_MIN), FRESH_S_MAX)
