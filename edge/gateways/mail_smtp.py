"""Mail by SMTP submission (RFC 5321, RFC 6409): one connection per mail, on aiosmtplib.

Invariants
  S1  unless tls=none was chosen, neither the password nor the mail is sent before the server's
      certificate was verified; a server that offers no STARTTLS gets neither
  S2  a failure says what the server's code was, never its text: servers repeat the address there
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Final

import aiosmtplib

from edge.gateways.mail_message import to_message
from edge.gateways.smtp_settings import SmtpSettings, Tls, parse_smtp_url
from edge.ports.mail import MailFailed

if TYPE_CHECKING:
    from edge.ports.mail import Mail

__all__ = ["Smtp", "SmtpSettings", "parse_smtp_url"]

COMMAND_S_MAX: Final = 15.0
"""How long one answer may take; submission servers answer within a second."""
MAIL_S_MAX: Final = 45.0
"""How long one mail may take in all: a slow server must not hold a place of the mailer's."""
_PERMANENT_FROM: Final = 500
_PERMANENT_BELOW: Final = 600
"""Replies 5yz are permanent (RFC 5321, 4.2.1); aiosmtplib makes -1 of what is no reply."""


class Smtp:
    """A mail server; see `edge.ports.mail.MailTransport`.

    Reading the certificates may raise ValueError, so a wrong `ca` is noticed at the start.
    """

    def __init__(
        self,
        settings: SmtpSettings,
        *,
        command_s_max: float = COMMAND_S_MAX,
        mail_s_max: float = MAIL_S_MAX,
    ) -> None:
        self._settings = settings
        self._command_s_max = command_s_max
        self._mail_s_max = mail_s_max
        self._context = None if settings.tls is Tls.NONE else _context(settings)

    async def send(self, mail: Mail) -> None:
        """Hand one mail over, within MAIL_S_MAX; raise MailFailed.

        When the answer to a mail is lost it may have been delivered: a retry can make it two.
        """
        message = to_message(mail, sender=self._settings.sender)
        try:
            async with asyncio.timeout(self._mail_s_max):
                await self._hand_over(mail.to, message.as_bytes())
        except aiosmtplib.SMTPResponseException as error:
            raise _refused(error.code) from None
        except (OSError, aiosmtplib.SMTPException) as error:
            raise _failed(error) from None

    async def close(self) -> None:
        """Do nothing: every mail closes its own connection."""

    async def _hand_over(self, recipient: str, content: bytes) -> None:
        settings = self._settings
        client = aiosmtplib.SMTP(
            hostname=settings.host,
            port=settings.port,
            username=settings.user,
            password=settings.password,
            # Otherwise this machine's name would be looked up, and told to the server.
            local_hostname=settings.sender.domain,
            timeout=self._command_s_max,
            use_tls=settings.tls is Tls.IMPLICIT,
            start_tls=settings.tls is Tls.STARTTLS,
            tls_context=self._context,
        )
        try:
            await client.connect()
            options: list[str] = []
            if not recipient.isascii():
                await client.ehlo()
                if not client.supports_extension("smtputf8"):
                    raise MailFailed(
                        "the mail server takes no international address", is_permanent=True
                    )
                options.append("SMTPUTF8")
            await client.mail(settings.sender.addr_spec, options=options)
            await client.rcpt(recipient, encoding="utf-8")
            await client.data(content)
            await _say_goodbye(client)
        finally:
            client.close()


async def _say_goodbye(client: aiosmtplib.SMTP) -> None:
    try:
        await client.quit()
    except (OSError, aiosmtplib.SMTPException):
        return  # The mail was taken: how the connection ends changes nothing.


def _context(settings: SmtpSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
    if settings.ca is not None:
        try:
            context.load_verify_locations(cafile=settings.ca)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ValueError(f"The file of `ca` cannot be used: {reason}.") from None
    return context


def _refused(code: int) -> MailFailed:
    is_permanent = _PERMANENT_FROM <= code < _PERMANENT_BELOW
    return MailFailed(f"the mail server answered {code}", is_permanent=is_permanent)


def _failed(error: OSError | aiosmtplib.SMTPException) -> MailFailed:
    # With implicit TLS the library wraps what the handshake raised.
    if isinstance(error, ssl.SSLCertVerificationError) or isinstance(
        error.__cause__, ssl.SSLCertVerificationError
    ):
        return MailFailed("the mail server's certificate is not trusted", is_permanent=True)
    if isinstance(error, TimeoutError):
        return MailFailed("the mail server did not answer in time", is_permanent=False)
    if isinstance(error, OSError):
        return MailFailed("the connection to the mail server failed", is_permanent=False)
    return MailFailed("the mail server offers no STARTTLS or no way to log in", is_permanent=True)
