"""Which issuers of ID tokens are trusted, as one setting.

    google=client-id-1|client-id-2,https://login.example.org=client-id

Each item is a name of PRESETS or an issuer's exact URL, then the client ids it must issue for.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urlsplit

from edge.ports.issuers import Issuer

if TYPE_CHECKING:
    from collections.abc import Iterable

SETTING_CHARACTERS_MAX: Final = 20_000
"""Room for ISSUERS_MAX issuers with some long client ids each."""
ISSUERS_MAX: Final = 20
"""Each has its keys in memory; an app offers a handful."""
AUDIENCES_MAX: Final = 20
"""Client ids of one app: one for each platform and environment."""
AUDIENCE_CHARACTERS_MAX: Final = 255
URL_CHARACTERS_MAX: Final = 500

PRESETS: Final = {
    "google": Issuer(
        "https://accounts.google.com", (), "https://www.googleapis.com/oauth2/v3/certs"
    ),
    "apple": Issuer("https://appleid.apple.com", (), "https://appleid.apple.com/auth/keys"),
}
"""Issuers by name, with the places of their keys; operators add the client ids."""


def parse_issuers(text: str) -> tuple[Issuer, ...]:
    """Read the setting as shown above; an empty one trusts nobody. Raises ValueError."""
    if len(text) > SETTING_CHARACTERS_MAX:
        raise ValueError(f"The issuers take at most {SETTING_CHARACTERS_MAX} characters.")
    issuers: list[Issuer] = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, equals, audiences = (part.strip() for part in item.partition("="))
        if not equals or not name:
            raise ValueError(f"{item!r:.120} is not of the form issuer=client-id|client-id.")
        if name not in PRESETS and "://" not in name:
            known = ", ".join(PRESETS)
            raise ValueError(f"{name!r:.120} is not an issuer: give its URL, or one of {known}.")
        preset = PRESETS.get(name, Issuer(name, ()))
        issuers.append(
            replace(preset, audiences=tuple(part.strip() for part in audiences.split("|")))
        )
    return require_issuers(issuers)


def require_issuers(issuers: Iterable[Issuer]) -> tuple[Issuer, ...]:
    """Return issuers that can be trusted as they stand, else raise ValueError."""
    found = tuple(issuers)
    if len(found) > ISSUERS_MAX:
        raise ValueError(f"At most {ISSUERS_MAX} issuers can be trusted.")
    if len({issuer.issuer for issuer in found}) != len(found):
        raise ValueError("An issuer is given twice: put its client ids together, separated by |.")
    for issuer in found:
        name = issuer.issuer
        if not is_fetchable(name) or (
            issuer.jwks_url is not None and not is_fetchable(issuer.jwks_url, named_by=name)
        ):
            raise ValueError(
                f"The issuer {name!r:.120} and the address of its keys must be https URLs without "
                "user, query and fragment (http on this machine only)."
            )
        if not 0 < len(issuer.audiences) <= AUDIENCES_MAX:
            raise ValueError(f"The issuer {name} needs 1 to {AUDIENCES_MAX} client ids.")
        if len(set(issuer.audiences)) != len(issuer.audiences):
            raise ValueError(f"A client id of the issuer {name} is given twice.")
        for audience in issuer.audiences:
            if not 0 < len(audience) <= AUDIENCE_CHARACTERS_MAX or not audience.isprintable():
                raise ValueError(f"{audience!r:.120} is not a client id of the issuer {name}.")
    return found


def is_fetchable(url: str, *, named_by: str | None = None) -> bool:
    """Tell whether keys may be fetched from a URL.

    What an issuer elsewhere names (`named_by`) must be https: it cannot point at this machine's
    own plain services.
    """
    parts = _parts(url)
    if parts is None:
        return False
    if parts.scheme == "http":
        namer = None if named_by is None else _parts(named_by)
        return _is_loopback(parts) and (
            named_by is None or (namer is not None and _is_loopback(namer))
        )
    return parts.scheme == "https"


def _parts(url: str) -> SplitResult | None:
    if len(url) > URL_CHARACTERS_MAX or not url.isascii() or not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    has_more = "@" in parts.netloc or "?" in url or "#" in url or "\\" in url
    return None if not host or port == 0 or has_more else parts


def _is_loopback(parts: SplitResult) -> bool:
    if parts.hostname == "localhost":
        return True
    try:
        return ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False
