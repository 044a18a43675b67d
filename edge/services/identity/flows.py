"""Flows: something begun by one request and finished by another, once, within minutes.

A mailed code, a passkey's challenge and an issuer's nonce are the same thing: a secret that only
the right party can bring back. Only its hash is kept.

Invariants
  F1  a flow is finished once: two requests with the right code race for one row
  F2  a code is tried CODE_ATTEMPTS_MAX times at most, then the flow is worth nothing
  F3  beginning a flow tells nothing about whether anybody could finish it
"""

from __future__ import annotations

import hmac
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from core.ids import is_id, new_row_id
from edge.errors import InvalidGrant, RateLimited
from edge.ports.identity_records import FlowRecord
from edge.services.identity.models import Begun

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.ports.identity_stores import VaultDatabase, VaultUnit

CODE_DIGITS: Final = 8
CODE_ATTEMPTS_MAX: Final = 5
"""Five tries of 10**8 codes: one flow in twenty million is guessed."""
FLOW_MS: Final = 10 * 60 * 1_000
FLOWS_PER_SUBJECT_MAX: Final = 20
"""Under way at once for one address, whatever the limits are set to."""
CHALLENGE_BYTES: Final = 32
_REFUSED: Final = "The code is wrong, used, or too old."


@dataclass(frozen=True, slots=True)
class Challenge:
    """What was to be signed, and who began the flow ("": nobody who had signed in)."""

    person: str
    challenge: bytes


class Flows:
    """Begins and finishes flows."""

    def __init__(
        self,
        vault: VaultDatabase,
        *,
        now_ms: Callable[[], int],
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._vault = vault
        self._now_ms = now_ms
        self._entropy = entropy

    async def begin_code(
        self, purpose: str, *, tenant: str, subject: str, person: str = "", secret: str = ""
    ) -> tuple[Begun, str]:
        """Begin a flow that a mailed code finishes; return it with the code.

        Raises RateLimited when the subject has too many under way.
        """
        number = int.from_bytes(self._entropy(16), "big") % 10**CODE_DIGITS
        code = f"{number:0{CODE_DIGITS}}"
        begun = await self._begin(
            FlowRecord(tenant, "", purpose, person, subject, b"", secret, 0, 0), code
        )
        return begun, code

    async def begin_challenge(
        self, purpose: str, *, tenant: str, person: str = "", subject: str = ""
    ) -> tuple[Begun, bytes]:
        """Begin a flow that a signed challenge finishes; return it with the challenge."""
        challenge = self._entropy(CHALLENGE_BYTES)
        text = urlsafe_b64encode(challenge).decode()
        # The challenge itself is public: it is kept so that the answer can be checked against it.
        begun = await self._begin(
            FlowRecord(tenant, "", purpose, person, subject, b"", text, 0, 0), ""
        )
        return begun, challenge

    async def finish_code(self, purpose: str, *, tenant: str, flow: str, code: str) -> FlowRecord:
        """Return the flow if this is its code; raises InvalidGrant with one wording for all."""
        if not is_id(flow) or len(code) > 2 * CODE_DIGITS:
            raise InvalidGrant(_REFUSED)
        digits = "".join(c for c in code if c.isascii() and c.isdigit())
        now_ms = self._now_ms()

        def work(unit: VaultUnit) -> FlowRecord | None:
            record = unit.flows.get(tenant, flow)
            if record is None or record.purpose != purpose or record.expires_ms <= now_ms:
                return None
            if record.attempts >= CODE_ATTEMPTS_MAX or not record.code:
                return None
            if not hmac.compare_digest(record.code, _hashed(flow, digits)):
                unit.flows.failed(tenant, flow)
                return None
            return unit.flows.take(tenant, flow)

        found = await self._vault.write(work)
        if found is None:
            raise InvalidGrant(_REFUSED)
        return found

    async def take_challenge(self, purpose: str, *, tenant: str, flow: str) -> Challenge:
        """Return a flow's challenge and who began it, and use it up; raises InvalidGrant.

        Whatever comes of checking the answer, the challenge is gone: it cannot be tried twice.
        """
        if not is_id(flow):
            raise InvalidGrant(_REFUSED)
        found = await self._vault.write(lambda unit: unit.flows.take(tenant, flow))
        if found is None or found.purpose != purpose or found.expires_ms <= self._now_ms():
            raise InvalidGrant(_REFUSED)
        return Challenge(found.person, urlsafe_b64decode(found.secret))

    async def _begin(self, draft: FlowRecord, code: str) -> Begun:
        """Store a flow; its id, its code's hash and its end are filled in here."""
        now_ms = self._now_ms()
        flow = new_row_id(now_ms=now_ms, entropy=self._entropy(10))
        hashed = _hashed(flow, code) if code else b""
        record = replace(draft, id=flow, code=hashed, expires_ms=now_ms + FLOW_MS)

        def work(unit: VaultUnit) -> None:
            tenant, subject = record.tenant, record.subject
            open_count = unit.flows.open_count(tenant, record.purpose, subject) if subject else 0
            if open_count >= FLOWS_PER_SUBJECT_MAX:
                raise RateLimited("Too many codes are under way.", delay_ms=FLOW_MS // 10)
            unit.flows.add(record)

        await self._vault.write(work)
        return Begun(flow, record.expires_ms)


def _hashed(flow: str, code: str) -> bytes:
    return sha256(f"{flow}\n{code}".encode()).digest()
