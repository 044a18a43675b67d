"""Service tokens: how a back end signs in. Opaque, hashed, exchanged for short access tokens."""

from __future__ import annotations

import os
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from hmac import compare_digest
from typing import TYPE_CHECKING, Final

from core.identity.accounts import Account, AccountKind, AccountState, CredentialKind, checked_name
from core.ids import PersonId, TenantId, is_id
from edge.errors import InvalidGrant, InvalidQuery, NotFound
from edge.ports.identity_records import CredentialRecord
from edge.services.identity.audit import note
from edge.services.identity.models import account_of, account_record
from edge.services.identity.sessions import REVOCATION_S
from edge.services.limits import LimitKind
from edge.services.session import ADMIN_SCOPE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edge.ports.identity_stores import ControlDatabase, ControlUnit
    from edge.services.identity.entry import Entry
    from edge.services.identity.signing import Signing
    from edge.services.identity.trust import Trust
    from edge.services.limits import Limits

TOKEN_LENGTH_MAX: Final = 256
SECRET_BYTES: Final = 32
SERVICE_SCOPES: Final = frozenset({ADMIN_SCOPE})
LISTED_MAX: Final = 1_000
_PREFIX: Final = "sks_"
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_REFUSED: Final = "The service token is worth nothing."


class ServiceTokens:
    """Makes, exchanges and revokes service tokens of one tenant at a time."""

    def __init__(
        self,
        control: ControlDatabase,
        *,
        entry: Entry,
        signing: Signing,
        trust: Trust,
        limits: Limits,
        now_ms: Callable[[], int],
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._control = control
        self._entry = entry
        self._signing = signing
        self._trust = trust
        self._limits = limits
        self._now_ms = now_ms
        self._entropy = entropy

    async def create(
        self, tenant: str, *, name: str, scopes: Iterable[str], actor: str, address: str
    ) -> tuple[CredentialRecord, str]:
        """Make a service account with a token, which is shown this once; raises InvalidQuery."""
        self._entry.settings(tenant)
        words = frozenset(scopes)
        if not words <= SERVICE_SCOPES:
            raise InvalidQuery(f"A service may have the scopes {', '.join(SERVICE_SCOPES)}.")
        secret, now_ms = self._entropy(SECRET_BYTES), self._now_ms()
        identity, person = self._entry.new_id(), PersonId(self._entry.new_id())
        account = Account(
            TenantId(tenant),
            person,
            AccountKind.SERVICE,
            AccountState.ACTIVE,
            checked_name(name),
            words,
            now_ms,
        )
        record = CredentialRecord(
            tenant,
            identity,
            person,
            CredentialKind.SERVICE.value,
            identity,
            sha256(secret).digest(),
            account.name,
            0,
            now_ms,
            now_ms,
        )

        def work(unit: ControlUnit) -> None:
            unit.accounts.put(account_record(account))
            unit.credentials.add(record)
            note(
                unit, "service-token.create", tenant=tenant, actor=actor, subject=person,
                now_ms=now_ms, address=address, scopes=sorted(words),
            )  # fmt: skip

        await self._control.write(work)
        encoded = urlsafe_b64encode(secret).rstrip(b"=").decode()
        return record, f"{_PREFIX}{encoded}.{identity}.{tenant}"

    async def exchange(self, text: str, *, address: str) -> str:
        """Return an access token for a service token; raises InvalidGrant."""
        self._limits.require(LimitKind.REFRESH, address=address)
        secret, _, rest = text.removeprefix(_PREFIX).partition(".")
        identity, _, tenant = rest.partition(".")
        if (
            len(text) > TOKEN_LENGTH_MAX
            or not text.startswith(_PREFIX)
            or _SECRET.fullmatch(secret) is None
            or not is_id(identity)
            or not is_id(tenant)
        ):
            raise InvalidGrant(_REFUSED)
        hashed = sha256(urlsafe_b64decode(secret + "=")).digest()

        def work(unit: ControlUnit) -> Account | None:
            found = unit.credentials.find(tenant, CredentialKind.SERVICE.value, identity)
            if found is None or not compare_digest(found.public, hashed):
                return None
            record = unit.accounts.get(tenant, found.person)
            return None if record is None else account_of(record)

        account = await self._control.read(work)
        if account is None or not account.is_active:
            raise InvalidGrant(_REFUSED)
        self._trust.require_served(tenant)
        claims: dict[str, object] = {"sub": account.person, "tenant": tenant, "amr": ["service"]}
        return self._signing.access_token(claims, scopes=account.scopes)

    async def list(self, tenant: str, *, after: str = "") -> list[CredentialRecord]:
        """Return a tenant's service tokens, without their secrets."""
        return await self._control.read(
            lambda unit: unit.credentials.of_kind(
                tenant, CredentialKind.SERVICE.value, after=after, limit=LISTED_MAX
            )
        )

    async def revoke(self, tenant: str, identity: str, *, actor: str, address: str) -> None:
        """Make a service token, and what it was exchanged for, worth nothing; raises NotFound."""
        now_ms = self._now_ms()

        def work(unit: ControlUnit) -> None:
            found = unit.credentials.find(tenant, CredentialKind.SERVICE.value, identity)
            if found is None:
                raise NotFound("There is no such service token.")
            unit.accounts.erase(tenant, found.person)
            now_s = now_ms // 1_000
            unit.revocations.add(
                tenant, "person", found.person, at_s=now_s, until_s=now_s + REVOCATION_S
            )
            note(
                unit, "service-token.revoke", tenant=tenant, actor=actor, subject=found.person,
                now_ms=now_ms, address=address,
            )  # fmt: skip

        await self._control.write(work)
        await self._trust.refresh()
