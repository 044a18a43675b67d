"""A real mail server on loopback (aiosmtpd, in a thread) that keeps what it is given."""

from __future__ import annotations

import ssl
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, message_from_string, policy
from email.message import EmailMessage
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import quote, urlencode

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from types import TracebackType

ADDRESS = "127.0.0.1"
SENDER = "Skerry <no-reply@example.org>"


@dataclass(frozen=True)
class Envelope:
    """What the commands said, apart from the message."""

    sender: str
    recipients: tuple[str, ...]
    is_encrypted: bool
    user: str | None


class SmtpServer:
    """`with SmtpServer(tls="starttls", account=("user", "password")) as server:`

    `url` is for `parse_smtp_url`; `mails` are the parsed messages, `envelopes` belong to them in
    order. Replies put into `recipient_replies` and `data_replies` are used up one by one before
    the server accepts. `certificate` is the PEM file to trust.
    """

    def __init__(
        self,
        *,
        tls: Literal["starttls", "implicit", "none"] = "none",
        account: tuple[str, str] | None = None,
        takes_international: bool = True,
        certificate_host: str = ADDRESS,
    ) -> None:
        self.mails: list[EmailMessage] = []
        self.envelopes: list[Envelope] = []
        self.logins: list[str] = []
        self.recipient_replies: list[str] = []
        self.data_replies: list[str] = []
        self.quit_reply = "221 Bye"
        self._tls = tls
        self._account = account
        self._folder = tempfile.TemporaryDirectory(prefix="smtp-server-")
        self.certificate = Path(self._folder.name) / "certificate.pem"
        options: dict[str, Any] = {
            "enable_SMTPUTF8": takes_international,
            "server_hostname": "localhost",
        }
        if account is not None:
            options |= {
                "authenticator": self._authenticate,
                "auth_required": True,
                # aiosmtpd takes a connection that began with TLS for a plain one.
                "auth_require_tls": tls == "starttls",
            }
        if tls != "none":
            context = _server_context(self.certificate, certificate_host)
            if tls == "implicit":
                options["ssl_context"] = context
            else:
                options |= {"tls_context": context, "require_starttls": True}
        self._controller = _OnAnyPort(self, hostname=ADDRESS, port=0, **options)

    @property
    def port(self) -> int:
        return self._controller.port

    @property
    def url(self) -> str:
        user, password = self._account or ("", "")
        login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if self._account else ""
        parameters = {"from": SENDER, "tls": self._tls}
        if self._tls != "none":
            parameters["ca"] = str(self.certificate)
        return f"smtp://{login}{ADDRESS}:{self.port}?{urlencode(parameters)}"

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._controller.stop()
        self._folder.cleanup()

    async def handle_RCPT(self, server, session, envelope, address, options) -> str:  # noqa: N802
        if self.recipient_replies:
            return self.recipient_replies.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope) -> str:  # noqa: N802
        if self.data_replies:
            return self.data_replies.pop(0)
        if envelope.smtp_utf8:
            message = message_from_string(envelope.content.decode(), policy=policy.SMTPUTF8)
        else:
            message = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        is_encrypted = self._tls == "implicit" or session.ssl is not None
        self.envelopes.append(
            Envelope(envelope.mail_from, tuple(envelope.rcpt_tos), is_encrypted, session.auth_data)
        )
        self.mails.append(message)
        return "250 OK"

    async def handle_QUIT(self, server, session, envelope) -> str:  # noqa: N802
        return self.quit_reply

    def _authenticate(self, server, session, envelope, mechanism, auth_data) -> AuthResult:
        assert isinstance(auth_data, LoginPassword)
        user, password = auth_data.login.decode(), auth_data.password.decode()
        self.logins.append(user)
        if (user, password) != self._account:
            return AuthResult(success=False, handled=False)
        return AuthResult(success=True, auth_data=user)


class _OnAnyPort(Controller):
    """A controller that learns which port it was given."""

    def _trigger_server(self) -> None:
        assert self.server is not None
        self.port = self.server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        super()._trigger_server()


def _server_context(path: Path, host: str) -> ssl.SSLContext:
    """Make a certificate for one host that is its own issuer; the private key goes into no file
    that outlives the server."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a mail server of a test")])
    now = datetime.now(UTC)
    try:
        subject: x509.GeneralName = x509.IPAddress(ip_address(host))
    except ValueError:
        subject = x509.DNSName(host)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([subject]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(certificate.public_bytes(Encoding.PEM))
    secret = path.with_name("key.pem")
    secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, secret)
    return context
