"""Signing in with passkeys (Web Authentication, W3C): user verification is always required."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.identity.accounts import CredentialKind
from edge.errors import InvalidGrant, InvalidQuery
from edge.services.identity.entry import NewCredential
from edge.services.limits import LimitKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge.ports.identity_records import CredentialRecord
    from edge.ports.identity_stores import ControlDatabase, ControlUnit
    from edge.ports.passkeys import Passkeys
    from edge.services.identity.entry import Entry
    from edge.services.identity.flows import Flows
    from edge.services.identity.models import Begun, NewDevice, SignedIn
    from edge.services.limits import Limits
    from edge.services.session import Principal

_REFUSED = "The passkey does not sign in to any account."


class PasskeyEntry:
    """Ways in through passkeys; `passkeys` None: the node has no relying party id."""

    def __init__(
        self,
        control: ControlDatabase,
        *,
        entry: Entry,
        flows: Flows,
        passkeys: Passkeys | None,
        limits: Limits,
    ) -> None:
        self._control = control
        self._entry = entry
        self._flows = flows
        self._passkeys = passkeys
        self._limits = limits

    async def begin_attach(
        self, principal: Principal, *, address: str
    ) -> tuple[Begun, dict[str, Any]]:
        """Return a flow and the options for making a passkey for a signed-in person."""
        tenant, person = principal.tenant, principal.person
        self._limits.require(LimitKind.LOGIN, tenant=tenant, account=person, address=address)
        passkeys = self._required()

        def present_and_name(unit: ControlUnit) -> tuple[list[bytes], str]:
            found = unit.credentials.of_person(tenant, person)
            kind = CredentialKind.PASSKEY.value
            account = unit.accounts.get(tenant, person)
            return (
                [bytes.fromhex(c.subject) for c in found if c.kind == kind],
                "" if account is None else account.name,
            )

        present, name = await self._control.read(present_and_name)
        begun, challenge = await self._flows.begin_challenge(
            "passkey-attach", tenant=tenant, person=person
        )
        options = passkeys.registration_options(
            person=person, name=name or person, challenge=challenge, present=present
        )
        return begun, options

    async def attach(
        self,
        principal: Principal,
        flow: str,
        credential: Mapping[str, Any],
        *,
        label: str,
        address: str,
    ) -> None:
        """Give a signed-in person a passkey as a way in; raises InvalidGrant, Conflict."""
        passkeys = self._required()
        found = await self._flows.take_challenge(
            "passkey-attach", tenant=principal.tenant, flow=flow
        )
        if found.person != principal.person:
            raise InvalidGrant(_REFUSED)
        new = passkeys.verify_registration(credential, challenge=found.challenge)
        passkey = NewCredential(
            CredentialKind.PASSKEY,
            new.credential_id.hex(),
            public=new.public_key,
            label=label,
            counter=new.sign_count,
        )
        await self._entry.attach(principal, [passkey], address=address)

    async def begin(self, tenant: str, *, address: str) -> tuple[Begun, dict[str, Any]]:
        """Return a flow and the options for signing in; they name nobody."""
        self._entry.settings(tenant)
        self._limits.require(LimitKind.LOGIN, tenant=tenant, address=address)
        passkeys = self._required()
        begun, challenge = await self._flows.begin_challenge("passkey", tenant=tenant)
        return begun, passkeys.sign_in_options(challenge=challenge)

    async def sign_in(
        self,
        tenant: str,
        flow: str,
        credential: Mapping[str, Any],
        device: NewDevice,
        *,
        address: str,
    ) -> SignedIn:
        """Sign in with a passkey; raises InvalidGrant."""
        self._entry.settings(tenant)
        self._limits.require(LimitKind.LOGIN, tenant=tenant, address=address)
        self._entry.sessions.check_device(tenant, device)
        record, counter = await self._verified(tenant, flow, credential, purpose="passkey")
        return await self._entry.sign_in(
            tenant,
            device,
            kind=CredentialKind.PASSKEY,
            subject=record.subject,
            address=address,
            counter=counter,
        )

    async def begin_prove(
        self, principal: Principal, *, address: str
    ) -> tuple[Begun, dict[str, Any]]:
        """Return a flow and the options for stepping up."""
        tenant = principal.tenant
        self._limits.require(
            LimitKind.LOGIN, tenant=tenant, account=principal.person, address=address
        )
        passkeys = self._required()
        begun, challenge = await self._flows.begin_challenge(
            "passkey-step-up", tenant=tenant, person=principal.person
        )
        return begun, passkeys.sign_in_options(challenge=challenge)

    async def prove(
        self, principal: Principal, flow: str, credential: Mapping[str, Any], *, address: str
    ) -> SignedIn:
        """Step up with a passkey of one's own; raises InvalidGrant."""
        record, counter = await self._verified(
            principal.tenant, flow, credential, purpose="passkey-step-up"
        )
        if record.person != principal.person:
            raise InvalidGrant(_REFUSED)
        now_ms = record.used_ms
        await self._control.write(
            lambda unit: unit.credentials.used(
                principal.tenant, record.id, counter=counter, at_ms=now_ms
            )
        )
        return await self._entry.sessions.proved(principal, method="passkey", address=address)

    async def _verified(
        self, tenant: str, flow: str, credential: Mapping[str, Any], *, purpose: str
    ) -> tuple[CredentialRecord, int]:
        """Return the credential that signed the flow's challenge, and its new count."""
        passkeys = self._required()
        # The challenge is used up before anything is checked: an answer is good for one try.
        found = await self._flows.take_challenge(purpose, tenant=tenant, flow=flow)
        subject = passkeys.credential_id_of(credential).hex()
        record = await self._control.read(
            lambda unit: unit.credentials.find(tenant, CredentialKind.PASSKEY.value, subject)
        )
        if record is None or passkeys.user_of(credential) not in (None, record.person):
            raise InvalidGrant(_REFUSED)
        counter = passkeys.verify_sign_in(
            credential,
            challenge=found.challenge,
            public_key=record.public,
            sign_count=record.counter,
        )
        return record, counter

    def _required(self) -> Passkeys:
        if self._passkeys is None:
            raise InvalidQuery("This node takes no passkeys: it has no relying party id.")
        return self._passkeys
