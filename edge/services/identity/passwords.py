"""E-mail addresses, passwords and mailed codes.

No answer tells whether an address has an account: beginning always answers the same, does the same
work and mails in the background; finishing fails with one wording. A password that somebody chose
for an address counts only once the owner of the mailbox has sent back the code, through the flow
in which it was chosen: registering other people's addresses in advance gains nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import Refusal
from core.identity.accounts import CredentialKind, checked_password, normalized_email
from core.identity.proofs import device_id
from edge.errors import InvalidGrant, InvalidQuery
from edge.services.identity import letters
from edge.services.identity.audit import note
from edge.services.identity.entry import NewCredential
from edge.services.identity.flows import FLOW_MS
from edge.services.limits import LimitKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.ports.identity_records import CredentialRecord
    from edge.ports.identity_stores import ControlDatabase, ControlUnit, VaultDatabase
    from edge.ports.passwords import PasswordHasher
    from edge.services.identity.entry import Entry
    from edge.services.identity.flows import Flows
    from edge.services.identity.mailer import Mailer
    from edge.services.identity.models import Begun, NewDevice, SignedIn
    from edge.services.limits import Limits
    from edge.services.session import Principal

_MINUTES = FLOW_MS // 60_000
_REFUSED = "The address or the password is wrong."


class Passwords:
    """Ways in through a mailbox, with or without a password."""

    def __init__(
        self,
        control: ControlDatabase,
        vault: VaultDatabase,
        *,
        entry: Entry,
        flows: Flows,
        hasher: PasswordHasher,
        mailer: Mailer,
        limits: Limits,
        app_name: str,
        now_ms: Callable[[], int],
    ) -> None:
        self._control = control
        self._vault = vault
        self._entry = entry
        self._flows = flows
        self._hasher = hasher
        self._mailer = mailer
        self._limits = limits
        self._app_name = app_name
        self._now_ms = now_ms

    # --- signing in --------------------------------------------------------------------------

    async def sign_in(
        self, tenant: str, email: str, password: str, device: NewDevice, *, address: str
    ) -> SignedIn:
        """Sign in with address and password; raises InvalidGrant, RateLimited."""
        subject = _address(email)
        self._entry.settings(tenant)
        self._entry.sessions.check_device(tenant, device)
        identity = device_id(device.public)

        def find(unit: ControlUnit) -> tuple[CredentialRecord | None, bool]:
            found = unit.credentials.find(tenant, CredentialKind.PASSWORD.value, subject)
            own = unit.devices.get(tenant, identity)
            is_known = found is not None and own is not None and own.person == found.person
            return found, is_known

        credential, is_known = await self._control.read(find)
        # A device of this very account is counted apart: strangers' guesses do not keep it out.
        self._limits.require(
            LimitKind.LOGIN,
            tenant=tenant,
            account=subject,
            address=address,
            known_device=identity if is_known else None,
        )
        secret = None
        if credential is not None:
            found = credential
            secret = await self._vault.read(lambda unit: unit.secrets.get(tenant, found.id))
        if not await self._hasher.verify(secret, password) or credential is None:
            await self._note_refused(tenant, credential, address)
            raise InvalidGrant(_REFUSED)
        if secret is not None and self._hasher.needs_rehash(secret):
            renewed = await self._hasher.hash(password)
            await self._vault.write(lambda unit: unit.secrets.put(tenant, credential.id, renewed))
        try:
            return await self._entry.sign_in(
                tenant, device, kind=CredentialKind.PASSWORD, subject=subject, address=address
            )
        except InvalidGrant:
            # A disabled account: the right password is answered as a wrong one.
            raise InvalidGrant(_REFUSED) from None

    async def begin_code(self, tenant: str, email: str, *, address: str) -> Begun:
        """Mail a code to sign in with, or to register with where the tenant allows it."""
        subject = _address(email)
        settings = self._entry.settings(tenant)
        self._limits.require(LimitKind.CODE, tenant=tenant, account=subject, address=address)
        begun, code = await self._flows.begin_code("code", tenant=tenant, subject=subject)
        known = await self._find(tenant, CredentialKind.EMAIL, subject)
        if known is not None or settings.registration:
            self._mailer.post(
                letters.sign_in_code(subject, app_name=self._app_name, code=code, minutes=_MINUTES)
            )
        return begun

    async def finish_code(
        self, tenant: str, flow: str, code: str, device: NewDevice, *, address: str
    ) -> SignedIn:
        """Sign in, or register, with a mailed code; raises InvalidGrant."""
        self._entry.settings(tenant)
        self._limits.require(LimitKind.LOGIN, tenant=tenant, account=flow, address=address)
        self._entry.sessions.check_device(tenant, device)
        found = await self._flows.finish_code("code", tenant=tenant, flow=flow, code=code)
        email = NewCredential(CredentialKind.EMAIL, found.subject)
        return await self._entry.sign_in_or_up(tenant, device, [email], address=address)

    # --- registering -------------------------------------------------------------------------

    async def begin_registration(
        self, tenant: str, email: str, password: str, *, address: str
    ) -> Begun:
        """Mail a code that makes an account with this address and password."""
        subject = _address(email)
        self._entry.settings(tenant)
        self._limits.require(LimitKind.REGISTER, tenant=tenant, account=subject, address=address)
        return await self._begin_address(tenant, subject, password, purpose="register", person="")

    async def finish_registration(
        self, tenant: str, flow: str, code: str, device: NewDevice, *, address: str
    ) -> SignedIn:
        """Make the account that a flow has prepared; raises InvalidGrant."""
        self._entry.settings(tenant)
        self._limits.require(LimitKind.LOGIN, tenant=tenant, account=flow, address=address)
        self._entry.sessions.check_device(tenant, device)
        found = await self._flows.finish_code("register", tenant=tenant, flow=flow, code=code)
        credentials = await self._prepared(tenant, found.subject, found.secret)
        return await self._entry.sign_in_or_up(
            tenant, device, credentials, address=address, must_be_new=True
        )

    async def begin_attach(
        self, principal: Principal, email: str, password: str | None, *, address: str
    ) -> Begun:
        """Mail a code that gives a signed-in person this address (and password) as a way in."""
        subject = _address(email)
        tenant = principal.tenant
        self._limits.require(LimitKind.CODE, tenant=tenant, account=subject, address=address)
        return await self._begin_address(
            tenant, subject, password, purpose="attach", person=principal.person
        )

    async def finish_attach(
        self, principal: Principal, flow: str, code: str, *, address: str
    ) -> None:
        """Attach what `begin_attach` has prepared; raises InvalidGrant, Conflict."""
        tenant = principal.tenant
        self._limits.require(LimitKind.LOGIN, tenant=tenant, account=flow, address=address)
        found = await self._flows.finish_code("attach", tenant=tenant, flow=flow, code=code)
        if found.person != principal.person:
            raise InvalidGrant(_REFUSED)
        credentials = await self._prepared(tenant, found.subject, found.secret)
        await self._entry.attach(principal, credentials, address=address)

    # --- changing and resetting --------------------------------------------------------------

    async def begin_reset(self, tenant: str, email: str, *, address: str) -> Begun:
        """Mail a code that sets a new password, if the address has an account."""
        subject = _address(email)
        self._entry.settings(tenant)
        self._limits.require(LimitKind.CODE, tenant=tenant, account=subject, address=address)
        begun, code = await self._flows.begin_code("reset", tenant=tenant, subject=subject)
        if await self._find(tenant, CredentialKind.EMAIL, subject) is not None:
            self._mailer.post(
                letters.reset_password(
                    subject, app_name=self._app_name, code=code, minutes=_MINUTES
                )
            )
        return begun

    async def finish_reset(
        self, tenant: str, flow: str, code: str, password: str, device: NewDevice, *, address: str
    ) -> SignedIn:
        """Set a new password, end every session and sign in; raises InvalidGrant."""
        self._entry.settings(tenant)
        self._limits.require(LimitKind.LOGIN, tenant=tenant, account=flow, address=address)
        _acceptable(password)
        self._entry.sessions.check_device(tenant, device)
        found = await self._flows.finish_code("reset", tenant=tenant, flow=flow, code=code)
        email = await self._find(tenant, CredentialKind.EMAIL, found.subject)
        if email is None:
            raise InvalidGrant(_REFUSED)
        await self._replace(tenant, email.person, found.subject, password, address=address)
        await self._entry.sessions.end(
            tenant, email.person, actor=email.person, reason="password-reset", address=address
        )
        return await self._entry.sign_in(
            tenant, device, kind=CredentialKind.PASSWORD, subject=found.subject, address=address
        )

    async def change(self, principal: Principal, password: str, *, address: str) -> None:
        """Set a signed-in person's password; every other session ends. Raises InvalidQuery."""
        _acceptable(password)
        tenant, person = principal.tenant, principal.person
        credentials = await self._control.read(
            lambda unit: unit.credentials.of_person(tenant, person)
        )
        email = next((c for c in credentials if c.kind == CredentialKind.EMAIL.value), None)
        if email is None:
            raise InvalidQuery("A password needs a verified e-mail address first.")
        await self._replace(tenant, person, email.subject, password, address=address)
        await self._entry.sessions.end(
            tenant, person, but=principal.session, actor=person, reason="password-changed",
            address=address,
        )  # fmt: skip

    async def prove(self, principal: Principal, password: str, *, address: str) -> SignedIn:
        """Step up: the person types the password again; raises InvalidGrant, RateLimited."""
        tenant, person = principal.tenant, principal.person
        self._limits.require(LimitKind.LOGIN, tenant=tenant, account=person, address=address)
        credentials = await self._control.read(
            lambda unit: unit.credentials.of_person(tenant, person)
        )
        own = next((c for c in credentials if c.kind == CredentialKind.PASSWORD.value), None)
        secret = None
        if own is not None:
            secret = await self._vault.read(lambda unit: unit.secrets.get(tenant, own.id))
        if not await self._hasher.verify(secret, password):
            raise InvalidGrant(_REFUSED)
        return await self._entry.sessions.proved(principal, method="password", address=address)

    async def begin_prove(self, principal: Principal, *, address: str) -> Begun:
        """Mail a code to step up with, to the person's own address; raises InvalidQuery."""
        tenant, person = principal.tenant, principal.person
        self._limits.require(LimitKind.CODE, tenant=tenant, account=person, address=address)
        credentials = await self._control.read(
            lambda unit: unit.credentials.of_person(tenant, person)
        )
        email = next((c for c in credentials if c.kind == CredentialKind.EMAIL.value), None)
        if email is None:
            raise InvalidQuery("This account has no e-mail address.")
        begun, code = await self._flows.begin_code(
            "step-up", tenant=tenant, subject=email.subject, person=person
        )
        self._mailer.post(
            letters.sign_in_code(
                email.subject, app_name=self._app_name, code=code, minutes=_MINUTES
            )
        )
        return begun

    async def finish_prove(
        self, principal: Principal, flow: str, code: str, *, address: str
    ) -> SignedIn:
        """Step up with a mailed code; raises InvalidGrant."""
        tenant = principal.tenant
        self._limits.require(LimitKind.LOGIN, tenant=tenant, account=flow, address=address)
        found = await self._flows.finish_code("step-up", tenant=tenant, flow=flow, code=code)
        if found.person != principal.person:
            raise InvalidGrant(_REFUSED)
        return await self._entry.sessions.proved(principal, method="email", address=address)

    # --- parts -------------------------------------------------------------------------------

    async def _begin_address(
        self, tenant: str, subject: str, password: str | None, *, purpose: str, person: str
    ) -> Begun:
        secret = ""
        if password is not None:
            _acceptable(password, email=subject)
            secret = await self._hasher.hash(password)
        begun, code = await self._flows.begin_code(
            purpose, tenant=tenant, subject=subject, person=person, secret=secret
        )
        if await self._find(tenant, CredentialKind.EMAIL, subject) is not None:
            self._mailer.post(letters.already_registered(subject, app_name=self._app_name))
        else:
            self._mailer.post(
                letters.verify_address(
                    subject, app_name=self._app_name, code=code, minutes=_MINUTES
                )
            )
        return begun

    async def _prepared(self, tenant: str, subject: str, secret: str) -> list[NewCredential]:
        """Return the credentials of a finished flow; a hash goes to the vault first."""
        credentials = [NewCredential(CredentialKind.EMAIL, subject)]
        if secret:
            identity = self._entry.new_id()
            await self._vault.write(lambda unit: unit.secrets.put(tenant, identity, secret))
            credentials.append(NewCredential(CredentialKind.PASSWORD, subject, id=identity))
        return credentials

    async def _replace(
        self, tenant: str, person: str, subject: str, password: str, *, address: str
    ) -> None:
        """Swap the password: the new hash is in the vault before anything points to it."""
        hashed = await self._hasher.hash(password)
        identity = self._entry.new_id()
        await self._vault.write(lambda unit: unit.secrets.put(tenant, identity, hashed))
        new = NewCredential(CredentialKind.PASSWORD, subject, id=identity)

        def work(unit: ControlUnit) -> list[str]:
            account = self._entry.active(unit, tenant, person)
            old = [
                c.id
                for c in unit.credentials.of_person(tenant, person)
                if c.kind == CredentialKind.PASSWORD.value
            ]
            for credential in old:
                unit.credentials.remove(tenant, person, credential)
            self._entry.add_in(unit, account, new, address=address)
            return old

        for old in await self._control.write(work):
            await self._vault.write(lambda unit, gone=old: unit.secrets.remove(tenant, gone))

    async def _find(
        self, tenant: str, kind: CredentialKind, subject: str
    ) -> CredentialRecord | None:
        return await self._control.read(
            lambda unit: unit.credentials.find(tenant, kind.value, subject)
        )

    async def _note_refused(
        self, tenant: str, credential: CredentialRecord | None, address: str
    ) -> None:
        """Note a refusal; unknown addresses too, so that both take the same time."""
        person = "" if credential is None else credential.person
        now_ms = self._now_ms()

        def work(unit: ControlUnit) -> None:
            note(
                unit, "session.refused", tenant=tenant, actor="", subject=person, now_ms=now_ms,
                address=address, method="password",
            )  # fmt: skip

        await self._control.write(work)


def _address(email: str) -> str:
    try:
        return normalized_email(email)
    except Refusal as refusal:
        raise InvalidQuery(refusal.message) from None


def _acceptable(password: str, *, email: str = "") -> None:
    try:
        checked_password(password, email=email)
    except Refusal as refusal:
        raise InvalidQuery(refusal.message) from None
