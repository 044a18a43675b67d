"""From a Mail to a message as it travels (RFC 5322), and which addresses are taken.

Invariants
  M1  a message has one recipient, and nothing of a mail can become another header or SMTP command
  M2  an address is sent as it is written: no part of an international one is rewritten

An address is a dot-atom, `@` and a domain; quoted local parts, comments and address literals are
refused. Letters beyond ASCII are allowed on both sides (RFC 6531, SMTPUTF8). Python turns such a
domain into ASCII by IDNA 2003, where `ß` becomes `ss`: another domain, perhaps of another owner.
A server without SMTPUTF8 therefore gets no mail to such an address.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import make_msgid
from typing import TYPE_CHECKING, Final

from edge.ports.mail import MailFailed

if TYPE_CHECKING:
    from edge.ports.mail import Mail

ADDRESS_BYTES_MAX: Final = 254
"""What fits into an SMTP path of 256 octets with its angle brackets (RFC 5321, 4.5.3.1.3)."""
LOCAL_PART_BYTES_MAX: Final = 64
"""RFC 5321, 4.5.3.1.1."""
SUBJECT_CHARACTERS_MAX: Final = 200
"""Our subjects have some 60; what is longer is not one of ours."""
TEXT_CHARACTERS_MAX: Final = 20_000
"""Our texts have some 500 characters."""
# Atoms of RFC 5322, 3.2.3, and everything beyond ASCII; what is no letter there is refused below.
_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]+"
_LABEL: Final = (
    r"[A-Za-z0-9\u0080-\U0010ffff](?:[A-Za-z0-9\u0080-\U0010ffff-]*[A-Za-z0-9\u0080-\U0010ffff])?"
)
_ADDRESS = re.compile(rf"({_ATOM}(?:\.{_ATOM})*)@({_LABEL}(?:\.{_LABEL})*)")
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp", "Zs"})


def is_address(text: str) -> bool:
    """Tell whether `text` is one mail address that can be sent to."""
    match = _ADDRESS.fullmatch(text) if len(text) <= ADDRESS_BYTES_MAX else None
    return (
        match is not None
        and not any(unicodedata.category(character) in _INVISIBLE for character in text)
        and len(text.encode()) <= ADDRESS_BYTES_MAX
        and len(match[1].encode()) <= LOCAL_PART_BYTES_MAX
    )


def has_controls(text: str) -> bool:
    """Tell whether `text` holds what must not be in a header: line ends, controls, surrogates."""
    return any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in text)


def to_message(mail: Mail, *, sender: Address) -> EmailMessage:
    """Return the message that carries a mail; raise MailFailed (permanent) for what is refused."""
    if not is_address(mail.to):
        raise MailFailed("the address cannot be sent to", is_permanent=True)
    if has_controls(mail.subject) or len(mail.subject) > SUBJECT_CHARACTERS_MAX:
        raise MailFailed("the subject has control characters or is too long", is_permanent=True)
    if len(mail.text) > TEXT_CHARACTERS_MAX:
        raise MailFailed("the text is too long", is_permanent=True)
    local_part, _, domain = mail.to.rpartition("@")
    policy = SMTP if mail.to.isascii() else SMTPUTF8
    # Seven-bit bodies pass every server; an international address needs eight bits in headers only.
    message = EmailMessage(policy=policy.clone(cte_type="7bit"))
    message["From"] = sender
    message["To"] = Address(username=local_part, domain=domain)
    message["Subject"] = mail.subject
    message["Date"] = datetime.now(UTC)
    # Without a domain, Python would look up and publish this machine's name.
    message["Message-ID"] = make_msgid(domain=sender.domain)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no absence notes in return
    try:
        message.set_content(mail.text)
    except UnicodeEncodeError:
        raise MailFailed("the text is not Unicode", is_permanent=True) from None
    return message
