"""Sessions: opened by a way in, refreshed by their device, listed and ended.

The rules are in core.identity.sessions; here they meet the control database. On a node that can
only read, a refresh gives an access token and lets the refresh token stay as it is: nothing is
rotated, nobody is logged out, and the next refresh that reaches the primary rotates.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import structlog

from core.identity.accounts import checked_name
from core.identity.proofs import device_id
from core.identity.sessions import (
    SALT_BYTES,
    SECRET_BYTES,
    RefreshAnswer,
    RefreshToken,
    Session,
    SessionState,
    hash_secret,
    judge_refresh,
    next_secret,
)
from core.ids import PersonId, new_row_id
from edge.errors import InvalidGrant, NotFound, Unavailable
from edge.ports.identity_records import DeviceKeyRecord
from edge.services.identity.audit import note
from edge.services.identity.models import (
    NewDevice,
    SignedIn,
    account_of,
    session_of,
    session_record,
)
from edge.services.identity.signing import ACCESS_TOKEN_S
from edge.services.limits import LimitKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from core.identity.accounts import Account
    from core.identity.proofs import Proof
    from edge.ports.identity_stores import ControlDatabase, ControlUnit
    from edge.services.identity.proofs import Proofs
    from edge.services.identity.signing import Signing
    from edge.services.identity.trust import Trust
    from edge.services.limits import Limits
    from edge.services.session import Principal

SESSION_MS: Final = 90 * 24 * 3_600 * 1_000
"""A phone that was away for a season signs in again; each refresh begins the season anew."""
SESSIONS_PER_PERSON_MAX: Final = 100
"""Beyond it the session that was used longest ago ends."""
REVOCATION_S: Final = 30 * 86_400 + 120
"""How long a revocation is kept: longer than any token that this node could take lives."""
_INVALID: Final = "The session has ended: sign in again."
_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Opened:
    """A session that a transaction has opened, with the secret that only the device gets."""

    account: Account
    session: Session
    secret: bytes


class Sessions:
    """Opens, refreshes and ends sessions."""

    def __init__(
        self,
        control: ControlDatabase,
        *,
        signing: Signing,
        proofs: Proofs,
        trust: Trust,
        now_ms: Callable[[], int],
        entropy: Callable[[int], bytes] = os.urandom,
        limits: Limits | None = None,
        on_reuse: Callable[[Session], None] = lambda _session: None,
    ) -> None:
        self._control = control
        self._signing = signing
        self._proofs = proofs
        self._trust = trust
        self._now_ms = now_ms
        self._entropy = entropy
        self._limits = limits
        self._on_reuse = on_reuse

    # --- opening -----------------------------------------------------------------------------

    def check_device(self, tenant: str, device: NewDevice) -> None:
        """Require the proof that a device which signs in has its key; raises InvalidGrant."""
        self._proofs.verify(device.public, device.proof, purpose="sign-in", subject=tenant)

    def open(
        self, unit: ControlUnit, account: Account, device: NewDevice, *, method: str, address: str
    ) -> Opened:
        """Open a session in a transaction; an older one of the same device and person ends."""
        now_ms = self._now_ms()
        tenant, person = account.tenant, account.person
        identity = device_id(device.public)
        known = unit.devices.get(tenant, identity)
        name = checked_name(device.name) or (known.name if known else "")
        created_ms = known.created_ms if known else now_ms
        unit.devices.put(DeviceKeyRecord(tenant, identity, person, device.public, name, created_ms))
        active = unit.sessions.active(tenant, person, now_ms=now_ms)
        superseded = [s.id for s in active if s.device == identity]
        kept = [s for s in active if s.device != identity]
        superseded += [s.id for s in kept[SESSIONS_PER_PERSON_MAX - 1 :]]
        self.end_in(unit, tenant, superseded, reason="superseded")
        secret = self._entropy(SECRET_BYTES)
        session = Session(
            tenant,
            new_row_id(now_ms=now_ms, entropy=self._entropy(10)),
            person,
            identity,
            SessionState.ACTIVE,
            generation=0,
            current=hash_secret(secret),
            previous=b"",
            salt=b"",
            created_ms=now_ms,
            refreshed_ms=now_ms,
            expires_ms=now_ms + SESSION_MS,
            proved_s=now_ms // 1_000,
            methods=(method,),
        )
        unit.sessions.put(session_record(session))
        note(
            unit, "session.open", tenant=tenant, actor=person, subject=person, now_ms=now_ms,
            address=address, method=method, device=identity,
        )  # fmt: skip
        return Opened(account, session, secret)

    async def answer(self, opened: Opened) -> SignedIn:
        """Return what the device is told once the transaction has committed."""
        await self._trust.refresh()  # a session that was superseded is worth nothing from now on
        return self._signed_in(opened.account, opened.session, opened.secret)

    # --- refreshing --------------------------------------------------------------------------

    async def refresh(self, text: str, proof: Proof, *, address: str = "") -> SignedIn:
        """Exchange a refresh token for the next one and an access token.

        Raises InvalidGrant (sign in again), ClockApart, Forbidden (the tenant is suspended).
        """
        presented = RefreshToken.parse(text)
        if presented is None:
            raise InvalidGrant(_INVALID)
        account, session, public = await self._control.read(lambda unit: _found(unit, presented))
        if hash_secret(presented.secret) not in (session.current, session.previous):
            is_old = presented.generation < session.generation - 1
            if not is_old:
                raise InvalidGrant(_INVALID)
        try:
            self._proofs.verify(public, proof, purpose="refresh", subject=text)
        except InvalidGrant:
            await self._report_theft(session, address)
            raise InvalidGrant(_INVALID) from None
        self._trust.require_served(presented.tenant)
        if not account.is_active:
            raise InvalidGrant(_INVALID)
        if self._limits is not None:
            # Only now is it known to be the session's own device: a stranger uses nothing up.
            self._limits.require(
                LimitKind.REFRESH,
                tenant=session.tenant,
                account=session.person,
                device=session.id,
            )
        return await self._decided(account, session, presented, address)

    async def _decided(
        self, account: Account, session: Session, presented: RefreshToken, address: str
    ) -> SignedIn:
        """Rotate, repeat, end or refuse; a race lost to a parallel refresh is decided again."""
        for _ in range(2):
            answer = judge_refresh(session, presented, now_ms=self._now_ms())
            if answer is RefreshAnswer.ROTATE:
                rotated = await self._rotated(account, session, presented)
                if rotated is not None:
                    return rotated
                _, session, _ = await self._control.read(lambda unit: _found(unit, presented))
                continue
            if answer is RefreshAnswer.REPEAT:
                secret = next_secret(presented.secret, session.salt)
                return self._signed_in(account, session, secret)
            if answer is RefreshAnswer.REUSE:
                await self._end_reused(session, address)
            break
        raise InvalidGrant(_INVALID)

    async def _rotated(
        self, account: Account, session: Session, presented: RefreshToken
    ) -> SignedIn | None:
        salt = self._entropy(SALT_BYTES)
        secret = next_secret(presented.secret, salt)
        now_ms = self._now_ms()
        rotated = replace(
            session,
            generation=session.generation + 1,
            current=hash_secret(secret),
            previous=session.current,
            salt=salt,
            refreshed_ms=now_ms,
            expires_ms=now_ms + SESSION_MS,
        )
        record = session_record(rotated)
        try:
            is_first = await self._control.write(
                lambda unit: unit.sessions.rotate(record, from_generation=session.generation)
            )
        except Unavailable:
            return self._signed_in(account, session, presented.secret)
        return self._signed_in(account, rotated, secret) if is_first else None

    async def _end_reused(self, session: Session, address: str) -> None:
        now_ms = self._now_ms()

        def work(unit: ControlUnit) -> None:
            self.end_in(unit, session.tenant, [session.id], reason="reuse")
            note(
                unit, "session.reuse", tenant=session.tenant, actor=session.person,
                subject=session.person, now_ms=now_ms, address=address, session=session.id,
            )  # fmt: skip

        await self._control.write(work)
        await self._trust.refresh()
        self._on_reuse(session)

    async def _report_theft(self, session: Session, address: str) -> None:
        """Note that somebody has a token of a session and not its key (N3: nothing changes)."""
        _log.warning("refresh-without-key", tenant=session.tenant)
        now_ms = self._now_ms()

        def work(unit: ControlUnit) -> None:
            note(
                unit, "session.refresh-without-key", tenant=session.tenant, actor="",
                subject=session.person, now_ms=now_ms, address=address, session=session.id,
            )  # fmt: skip

        with suppress(Unavailable):
            await self._control.write(work)

    # --- listing and ending ------------------------------------------------------------------

    async def list(self, tenant: str, person: str) -> list[tuple[Session, str]]:
        """Return a person's active sessions, newest first, each with its device's name."""
        now_ms = self._now_ms()

        def work(unit: ControlUnit) -> list[tuple[Session, str]]:
            names = {d.id: d.name for d in unit.devices.of_person(tenant, person)}
            return [
                (session_of(record), names.get(record.device, ""))
                for record in unit.sessions.active(tenant, person, now_ms=now_ms)
            ]

        return await self._control.read(work)

    async def end(
        self,
        tenant: str,
        person: str,
        *,
        only: str | None = None,
        but: str | None = None,
        actor: str,
        reason: str,
        address: str = "",
    ) -> int:
        """End a person's sessions: one (`only`), all, or all `but` one; return how many.

        Raises NotFound when the one is not an active session of this person.
        """
        now_ms = self._now_ms()

        def work(unit: ControlUnit) -> int:
            active = [s.id for s in unit.sessions.active(tenant, person, now_ms=now_ms)]
            chosen = [s for s in active if s != but and only in (None, s)]
            if only is not None and not chosen:
                raise NotFound("There is no such session.")
            self.end_in(unit, tenant, chosen, reason=reason)
            note(
                unit, "session.end", tenant=tenant, actor=actor, subject=person, now_ms=now_ms,
                address=address, reason=reason, sessions=len(chosen),
            )  # fmt: skip
            return len(chosen)

        count = await self._control.write(work)
        await self._trust.refresh()
        return count

    def end_in(
        self, unit: ControlUnit, tenant: str, sessions: Iterable[str], *, reason: str
    ) -> None:
        """End sessions in a transaction, and revoke the access tokens they have given out."""
        ids = list(sessions)
        if not ids:
            return
        now_s = self._now_ms() // 1_000
        unit.sessions.end(tenant, ids, reason=reason)
        for session in ids:
            unit.revocations.add(
                tenant, "session", session, at_s=now_s, until_s=now_s + REVOCATION_S
            )

    def revoke_person_in(self, unit: ControlUnit, tenant: str, person: str, *, reason: str) -> None:
        """End every session of a person, and what tokens without a session say for it."""
        now_ms = self._now_ms()
        active = unit.sessions.active(tenant, person, now_ms=now_ms)
        self.end_in(unit, tenant, [s.id for s in active], reason=reason)
        now_s = now_ms // 1_000
        unit.revocations.add(tenant, "person", person, at_s=now_s, until_s=now_s + REVOCATION_S)

    async def proved(self, principal: Principal, *, method: str, address: str = "") -> SignedIn:
        """Note that the person has just proved who they are again; return a token that says so.

        The refresh token of the answer is empty: the device's own stays good.
        """
        now_ms = self._now_ms()

        def work(unit: ControlUnit) -> tuple[Account, Session]:
            account = unit.accounts.get(principal.tenant, principal.person)
            session = self.prove_in(unit, principal.tenant, principal.session, methods=[method])
            if account is None or session is None or session.person != principal.person:
                raise InvalidGrant(_INVALID)
            note(
                unit, "session.step-up", tenant=principal.tenant, actor=principal.person,
                subject=principal.person, now_ms=now_ms, address=address, method=method,
            )  # fmt: skip
            return account_of(account), session

        account, session = await self._control.write(work)
        return replace(self._signed_in(account, session, b""), refresh_token="")

    def prove_in(
        self, unit: ControlUnit, tenant: str, session: str, *, methods: Iterable[str]
    ) -> Session | None:
        """Note in a transaction that the person has proved who they are; None: no such session."""
        now_ms = self._now_ms()
        record = unit.sessions.get(tenant, session)
        if record is None or not (found := session_of(record)).is_active(now_ms=now_ms):
            return None
        methods = tuple(dict.fromkeys((*found.methods, *methods)))
        proved = replace(found, proved_s=now_ms // 1_000, methods=methods)
        unit.sessions.put(session_record(proved))
        return proved

    def _signed_in(self, account: Account, session: Session, secret: bytes) -> SignedIn:
        claims: dict[str, object] = {
            "sub": session.person,
            "tenant": session.tenant,
            "sid": session.id,
            "did": session.device,
            "auth_time": session.proved_s,
            "amr": list(session.methods),
        }
        token = RefreshToken(session.tenant, session.id, session.generation, secret)
        access = self._signing.access_token(claims, scopes=account.scopes)
        return SignedIn(account, session, token.text(), access, ACCESS_TOKEN_S)


def _found(unit: ControlUnit, presented: RefreshToken) -> tuple[Account, Session, bytes]:
    record = unit.sessions.get(presented.tenant, presented.session)
    if record is None:
        raise InvalidGrant(_INVALID)
    account = unit.accounts.get(presented.tenant, PersonId(record.person))
    device = unit.devices.get(presented.tenant, record.device)
    if account is None or device is None:
        raise InvalidGrant(_INVALID)
    return account_of(account), session_of(record), device.public
