"""What the node writes to people: short plain texts in English, without links.

A code stands alone on its line, so that phones offer to copy it, and never in the subject, which
locked screens show. Names that people gave themselves go to people who do not know them: they are
bounded and cannot become a link.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC
from typing import TYPE_CHECKING, Final

from edge.ports.mail import Mail

if TYPE_CHECKING:
    from datetime import datetime

NAME_CHARACTERS_MAX: Final = 60
"""Long enough for people and phones, too short for a message of somebody else's."""
_FORBIDDEN: Final = frozenset({"Cc", "Cs", "Cn", "Co", "Zl", "Zp"})
# They turn around how the rest of a line is shown.
_DIRECTIONS: Final = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
# Mail programs make a link of "example.org" and of "https://".
_LINK_DOT = re.compile(r"([.\u3002\uff0e\uff61])(?=[^\W\d_])")
_LINK_SCHEME = re.compile(r"://+|//+")


def sign_in_code(to: str, *, app_name: str, code: str, minutes: int) -> Mail:
    """Make the mail with a code to sign in with."""
    app = _line(app_name)
    return Mail(
        to,
        f"Your {app} sign-in code",
        _with_code(
            f"Somebody, probably you, is signing in to {app}. The code is:",
            code,
            f"It works once, for {_minutes(minutes)}. If it was not you, ignore this mail and tell "
            "nobody the code.",
        ),
    )


def verify_address(to: str, *, app_name: str, code: str, minutes: int) -> Mail:
    """Make the mail with a code that shows that an address is somebody's own."""
    app = _line(app_name)
    return Mail(
        to,
        f"Confirm your address for {app}",
        _with_code(
            f"To confirm this mail address for {app}, enter:",
            code,
            f"The code works once, for {_minutes(minutes)}. If you did not ask for it, ignore this "
            "mail: nothing happens.",
        ),
    )


def reset_password(to: str, *, app_name: str, code: str, minutes: int) -> Mail:
    """Make the mail with a code to choose a new password with."""
    app = _line(app_name)
    return Mail(
        to,
        f"Choose a new password for {app}",
        _with_code(
            f"To choose a new password for {app}, enter:",
            code,
            f"The code works once, for {_minutes(minutes)}. If you did not ask for it, ignore this "
            "mail: your password stays as it is.",
        ),
    )


def already_registered(to: str, *, app_name: str) -> Mail:
    """Make the mail to the owner of an address that somebody tries to register again."""
    app = _line(app_name)
    return Mail(
        to,
        f"You have an account with {app}",
        _text(
            f"Somebody, perhaps you, tried to register this mail address with {app}. It has an "
            "account already, and nothing was changed.",
            "If it was you, sign in instead; if you forgot your password, choose a new one in the "
            "app. If it was not you, there is nothing to do.",
        ),
    )


def session_ended(to: str, *, app_name: str, device_name: str, at: datetime) -> Mail:
    """Make the mail after a refresh token was used twice; `at` is an aware time."""
    app = _line(app_name)
    when = at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return Mail(
        to,
        f"A device was signed out of {app}",
        _text(
            f'Your device "{_name(device_name)}" was signed out of {app} on {when}: its session '
            "was used from two places, as happens when it was copied.",
            "Restoring a phone from a backup can cause this; then sign in again. Otherwise look at "
            "the devices of your account and sign out those you do not know.",
        ),
    )


def invitation(to: str, *, app_name: str, space: str, role: str, code: str, inviter: str) -> Mail:
    """Make the mail that invites somebody into a space."""
    app = _line(app_name)
    return Mail(
        to,
        f"An invitation to {app}",
        _with_code(
            f'"{_name(inviter)}" invites you to "{_name(space)}" in {app}, as "{_name(role)}". To '
            "accept, enter this code in the app:",
            code,
            "If you do not know who this is, ignore this mail.",
        ),
    )


def account_deleted(to: str, *, app_name: str) -> Mail:
    """Make the last mail to somebody whose account is gone."""
    app = _line(app_name)
    return Mail(
        to,
        f"Your {app} account was deleted",
        _text(
            f"Your account with {app} was deleted, and your devices were signed out.",
            "If it was not you, write to the people who run the app.",
        ),
    )


def _with_code(before: str, code: str, after: str) -> str:
    assert code == _line(code), "a code is one short line"
    return _text(before, code, after)


def _text(*paragraphs: str) -> str:
    return "\n\n".join(paragraphs) + "\n"


def _minutes(minutes: int) -> str:
    return "1 minute" if minutes == 1 else f"{minutes} minutes"


def _line(text: str) -> str:
    """Return a text as one bounded line without control characters."""
    # A first cut keeps the work bounded, whatever was given.
    head = text[: 4 * NAME_CHARACTERS_MAX]
    shown = "".join(
        " " if unicodedata.category(character) in _FORBIDDEN else character
        for character in head
        if character not in _DIRECTIONS
    )
    line = " ".join(shown.split())
    if len(line) > NAME_CHARACTERS_MAX:
        line = line[: NAME_CHARACTERS_MAX - 1].rstrip() + "…"
    return line


def _name(text: str) -> str:
    """Return a name that somebody gave, in which nothing is a link or ends a quotation."""
    unlinked = _LINK_DOT.sub(r"\1 ", _LINK_SCHEME.sub(" ", _line(text)))
    return _line(unlinked.replace('"', "'")) or "(no name)"
