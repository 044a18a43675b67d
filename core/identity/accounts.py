"""Accounts: who a person is to one tenant, and what a way in may look like."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from core.errors import Refusal

if TYPE_CHECKING:
    from core.ids import PersonId, TenantId

EMAIL_LENGTH_MAX: Final = 254
"""RFC 5321, section 4.5.3.1.3: what fits into a path."""
PASSWORD_LENGTH_MIN: Final = 10
"""Above the 8 that NIST SP 800-63B asks for; length counts, composition rules do not."""
PASSWORD_LENGTH_MAX: Final = 256
NAME_LENGTH_MAX: Final = 80
DIFFERENT_CHARACTERS_MIN: Final = 5
_EMAIL = re.compile(r"[^\s@<>,;:\"()\[\]\\]{1,64}@([^\s@.<>,;:\"()\[\]\\]{1,63}\.)+[^\s@.]{2,63}")


class AccountKind(StrEnum):
    """What an account is for."""

    ANONYMOUS = "anonymous"
    """Made by a phone without asking anybody; becomes named with its first credential."""
    NAMED = "named"
    SERVICE = "service"
    """A back end."""


class AccountState(StrEnum):
    """Whether an account may be used."""

    ACTIVE = "active"
    DISABLED = "disabled"


class CredentialKind(StrEnum):
    """Ways in. What `subject` is: an address, `issuer subject`, a passkey's id, a token's id."""

    PASSWORD = "password"  # noqa: S105  (the name of a kind)
    EMAIL = "email"
    """A verified address: codes can be mailed to it."""
    OIDC = "oidc"
    PASSKEY = "passkey"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class Account:
    """One person of one tenant. `created_ms` is Unix milliseconds."""

    tenant: TenantId
    person: PersonId
    kind: AccountKind
    state: AccountState
    name: str
    scopes: frozenset[str]
    created_ms: int

    @property
    def is_active(self) -> bool:
        """Whether it may sign in and stay signed in."""
        return self.state is AccountState.ACTIVE


def normalized_email(text: str) -> str:
    """Return the form that addresses are compared in; raise Refusal when it is not an address.

    Unicode is composed (NFKC) and both parts are lower case: no provider tells two people apart by
    case. Mail goes to this very form, so that whoever reads the code owns what is stored. It is not
    case folded: that would turn the mailbox of straße into another one's.
    """
    address = unicodedata.normalize("NFKC", text.strip()).lower()
    if len(address) > EMAIL_LENGTH_MAX or _EMAIL.fullmatch(address) is None:
        raise Refusal("bad-email", "This is not an e-mail address.")
    if any(unicodedata.category(character)[0] == "C" for character in address):
        raise Refusal("bad-email", "This is not an e-mail address.")
    return address


def checked_password(password: str, *, email: str = "") -> str:
    """Return the password in the form that is hashed; raise Refusal when it is too weak.

    NIST SP 800-63B: length counts, composition rules do not help; Unicode is normalised (NFKC).
    """
    normal = unicodedata.normalize("NFKC", password)
    if not PASSWORD_LENGTH_MIN <= len(normal) <= PASSWORD_LENGTH_MAX:
        raise Refusal(
            "weak-password",
            f"A password has {PASSWORD_LENGTH_MIN} to {PASSWORD_LENGTH_MAX} characters.",
        )
    if len(set(normal)) < DIFFERENT_CHARACTERS_MIN:
        raise Refusal("weak-password", "This password repeats a few characters.")
    if normal.casefold() in (email, email.partition("@")[0]):
        raise Refusal("weak-password", "The password must not be the address.")
    return normal


def checked_name(name: str) -> str:
    """Return a display name without control characters; raise Refusal when it is too long."""
    clean = "".join(c for c in name.strip() if unicodedata.category(c)[0] != "C")
    if len(clean) > NAME_LENGTH_MAX:
        raise Refusal("long-name", f"A name has at most {NAME_LENGTH_MAX} characters.")
    return clean
