"""Sessions of phones: refresh tokens that rotate, survive lost answers and notice reuse.

A refresh token is (session, generation, secret). Each refresh with the current token makes the next
generation: its secret is HMAC-SHA256(key: present secret, message: a random salt). The server keeps
hashes and salts only; whoever presents the previous secret once more can be given the current one,
and nobody else can.

Invariants
  N1  an answer that was lost never ends a session: the previous token gets the current one again
  N2  a token two or more generations old, presented with the device's own proof, ends the session
  N3  a token without the device's proof changes nothing
  N4  a session that has ended never begins again
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from core.ids import PersonId, TenantId, is_id

if TYPE_CHECKING:
    from typing import Self

SECRET_BYTES: Final = 32
SALT_BYTES: Final = 16
GENERATION_MAX: Final = 2**31 - 1
REFRESH_TOKEN_LENGTH_MAX: Final = 256
_PREFIX: Final = "skr_"
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


class SessionState(StrEnum):
    """A session is active until it has ended."""

    ACTIVE = "active"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Session:
    """One signed-in device. Times are Unix milliseconds, `proved_s` Unix seconds.

    `generation` counts refreshes; `current` and `previous` are SHA-256 of the secrets; `salt` makes
    the current secret from the previous one. `proved_s`: when the person last proved who they are,
    `methods`: by what. `reason`: why it has ended.
    """

    tenant: TenantId
    id: str
    person: PersonId
    device: str
    state: SessionState
    generation: int
    current: bytes
    previous: bytes
    salt: bytes
    created_ms: int
    refreshed_ms: int
    expires_ms: int
    proved_s: int
    methods: tuple[str, ...]
    reason: str = ""

    def is_active(self, *, now_ms: int) -> bool:
        """Whether it may be refreshed."""
        return self.state is SessionState.ACTIVE and now_ms < self.expires_ms


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token as it is presented: which session, which generation, and the secret."""

    tenant: TenantId
    session: str
    generation: int
    secret: bytes

    def text(self) -> str:
        """Return the opaque text that clients keep."""
        secret = urlsafe_b64encode(self.secret).rstrip(b"=").decode()
        return f"{_PREFIX}{secret}.{self.generation}.{self.session}.{self.tenant}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read a token; None when it is not one."""
        if len(text) > REFRESH_TOKEN_LENGTH_MAX or not text.startswith(_PREFIX):
            return None
        secret, _, rest = text.removeprefix(_PREFIX).partition(".")
        generation, _, rest = rest.partition(".")
        session, _, tenant = rest.partition(".")
        if (
            _SECRET.fullmatch(secret) is None
            or not (generation.isascii() and generation.isdecimal() and len(generation) <= 10)  # noqa: PLR2004  (digits of GENERATION_MAX)
            or not is_id(session)
            or not is_id(tenant)
        ):
            return None
        decoded = urlsafe_b64decode(secret + "=")
        return cls(TenantId(tenant), session, int(generation), decoded)


class RefreshAnswer(StrEnum):
    """What becomes of a presented refresh token."""

    ROTATE = "rotate"
    """The current one: the next generation is made."""
    REPEAT = "repeat"
    """The previous one: its answer was lost, the current generation is given again."""
    REUSE = "reuse"
    """An older one: two parties use this session; it ends."""
    REFUSE = "refuse"
    """Nothing of this session's."""


def hash_secret(secret: bytes) -> bytes:
    """Return what is kept of a secret of 256 random bits: no slow hash is needed for those."""
    return sha256(secret).digest()


def next_secret(secret: bytes, salt: bytes) -> bytes:
    """Return the secret that follows another one."""
    return hmac.digest(secret, b"skerry-refresh-1" + salt, "sha256")


def judge_refresh(session: Session, presented: RefreshToken, *, now_ms: int) -> RefreshAnswer:
    """Decide about a token that came with the session's own device proof (N3 is the caller's)."""
    if not session.is_active(now_ms=now_ms):
        return RefreshAnswer.REFUSE
    hashed = hash_secret(presented.secret)
    if presented.generation == session.generation:
        is_same = hmac.compare_digest(hashed, session.current)
        return RefreshAnswer.ROTATE if is_same else RefreshAnswer.REFUSE
    if presented.generation == session.generation - 1:
        is_same = hmac.compare_digest(hashed, session.previous)
        return RefreshAnswer.REPEAT if is_same else RefreshAnswer.REFUSE
    if presented.generation < session.generation:
        return RefreshAnswer.REUSE
    return RefreshAnswer.REFUSE
