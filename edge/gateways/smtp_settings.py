"""Where mail is handed over, as one URL.

    smtp://user:password@host:587?from=Skerry%20%3Cno-reply%40example.org%3E
    smtps://user:password@host?from=no-reply%40example.org&ca=company.pem

`tls=` is `starttls`, `implicit` or `none`. Without it, smtps: means implicit, smtp: means STARTTLS,
and smtp: to this machine itself (a relay beside the node) means none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from email.headerregistry import Address
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from edge.gateways.mail_message import has_controls, is_address

URL_CHARACTERS_MAX: Final = 2_000
"""Room for every part and a long password."""
SENDER_NAME_CHARACTERS_MAX: Final = 100
"""A name that mail programs show in one line."""
_PARAMETERS: Final = frozenset({"from", "tls", "ca"})


class Tls(StrEnum):
    """How the connection is protected; the value is what the URL says."""

    STARTTLS = "starttls"
    IMPLICIT = "implicit"
    NONE = "none"


_PORTS: Final = {Tls.STARTTLS: 587, Tls.IMPLICIT: 465, Tls.NONE: 25}
"""RFC 6409, RFC 8314 and RFC 5321."""


@dataclass(frozen=True, slots=True)
class SmtpSettings:
    """A mail server and who writes; `ca` is a PEM file of further issuers to trust."""

    host: str
    port: int
    tls: Tls
    sender: Address
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca: Path | None = None


def parse_smtp_url(url: str) -> SmtpSettings:
    """Read a URL as shown above; raise ValueError, which repeats nothing of the URL.

    A password with an unescaped `/`, `?`, `#` or `@` shifts the other parts, so that any of them
    may be a piece of it.
    """
    if len(url) > URL_CHARACTERS_MAX or has_controls(url):
        raise ValueError("The SMTP URL is too long or has control characters.")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        user = _decoded(parts.username)
        password = _decoded(parts.password)
        pairs = parse_qsl(parts.query, keep_blank_values=True, errors="strict", max_num_fields=8)
    except ValueError:  # its message may hold the password
        raise ValueError(
            "The SMTP URL cannot be read: escape /, ?, #, @ and % in user and password."
        ) from None
    if not host or parts.path not in ("", "/") or parts.fragment or "@" in host:
        raise ValueError(
            "The SMTP URL must be smtp://user:password@host:port?from=...; escape /, ?, # and @ "
            "in user and password."
        )
    if (user is None) != (password is None) or user == "":
        raise ValueError("The SMTP URL must have both a user and a password, or neither.")
    parameters = dict(pairs)
    if len(parameters) != len(pairs) or not parameters.keys() <= _PARAMETERS:
        raise ValueError("The SMTP URL may have the parameters from, tls and ca, each once.")
    tls = _tls(parts, host, parameters.get("tls"))
    if tls is Tls.NONE and user is not None and not _is_this_machine(host):
        raise ValueError("With tls=none a password is sent to this machine only: use starttls.")
    ca = parameters.get("ca")
    return SmtpSettings(
        host=host,
        port=_PORTS[tls] if port is None else port,
        tls=tls,
        sender=_sender(parameters.get("from", "")),
        user=user,
        password=password,
        ca=Path(ca) if ca else None,
    )


def _tls(parts: SplitResult, host: str, chosen: str | None) -> Tls:
    if parts.scheme not in ("smtp", "smtps"):
        raise ValueError("The SMTP URL must begin with smtp:// or smtps://.")
    if chosen is not None and chosen not in set(Tls):
        raise ValueError("In the SMTP URL, tls must be starttls, implicit or none.")
    if parts.scheme == "smtps":
        if chosen not in (None, Tls.IMPLICIT):
            raise ValueError("In the SMTP URL, smtps:// goes with tls=implicit only.")
        return Tls.IMPLICIT
    if chosen is not None:
        return Tls(chosen)
    return Tls.NONE if _is_this_machine(host) else Tls.STARTTLS


def _sender(text: str) -> Address:
    """Read `name <address>` or `address`."""
    name, bracket, rest = text.rpartition("<")
    address = rest[:-1] if bracket and rest.endswith(">") else text
    name = name.strip().strip('"')
    if (
        not is_address(address)
        or not address.isascii()
        or has_controls(name)
        or len(name) > SENDER_NAME_CHARACTERS_MAX
    ):
        raise ValueError(
            "The SMTP URL needs from=Name%20%3Caddress%40domain%3E with one ASCII mail address."
        )
    local_part, _, domain = address.rpartition("@")
    return Address(name, local_part, domain)


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _decoded(part: str | None) -> str | None:
    text = None if part is None else unquote(part, errors="strict")
    if text is not None and has_controls(text):
        raise ValueError("control characters")
    return text
