"""Mail by SMTP, against a real server on loopback, and against servers that misbehave."""

import asyncio
import base64
from contextlib import asynccontextmanager
from email.headerregistry import Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.gateways.mail_smtp import Smtp, parse_smtp_url
from edge.gateways.smtp_settings import Tls
from edge.ports.mail import Mail, MailFailed
from tests.edge.gateways.smtp_server import SmtpServer

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH")  # aiosmtpd's own caution

ACCOUNT = ("skerry", "pa:ss/wörd?#@%")
MAIL = Mail("ada@example.org", "Your code", "Hello\n\n123456\n\n.\nBye\n")
FROM = "from=no-reply%40example.org"


def smtp(url, **bounds):
    return Smtp(parse_smtp_url(url), **bounds)


async def failure(transport, mail=MAIL):
    with pytest.raises(MailFailed) as caught:
        await transport.send(mail)
    error = caught.value
    assert mail.to not in str(error)
    assert error.__suppress_context__ or error.__context__ is None
    return error


@asynccontextmanager
async def scripted(replies, *, seen):
    """A server that answers by the first word of a line, or not at all; "" is its greeting."""
    writers = []
    tasks = []

    async def serve(reader, writer):
        writers.append(writer)
        tasks.append(asyncio.current_task())
        if replies.get("") is not None:
            writer.write(replies[""])
        while line := await reader.readline():
            seen.append(line)
            words = line.decode(errors="replace").upper().split()
            reply = replies.get(words[0]) if words else None
            if reply is not None:
                writer.write(reply)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.gather(*tasks)
        await server.wait_closed()


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
async def test_a_mail_arrives_encrypted_and_logged_in(tls):
    with SmtpServer(tls=tls, account=ACCOUNT) as server:
        await smtp(server.url).send(MAIL)
    (mail,), (envelope,) = server.mails, server.envelopes
    assert (envelope.sender, envelope.recipients) == ("no-reply@example.org", ("ada@example.org",))
    assert envelope.is_encrypted
    assert envelope.user == "skerry"
    assert mail["From"] == "Skerry <no-reply@example.org>"
    assert mail["To"] == "ada@example.org"
    assert mail["Subject"] == "Your code"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Message-ID"].endswith("@example.org>")
    assert mail["Date"].datetime is not None
    assert mail.get_content().replace("\r\n", "\n") == MAIL.text


async def test_a_relay_on_this_machine_needs_neither_tls_nor_login():
    with SmtpServer() as server:
        transport = smtp(server.url.replace("&tls=none", ""))
        await asyncio.gather(transport.send(MAIL), transport.send(MAIL))
        await transport.close()
    assert [mail["To"] for mail in server.mails] == ["ada@example.org"] * 2


async def test_text_beyond_ascii_arrives():
    with SmtpServer() as server:
        await smtp(server.url).send(Mail("ada@example.org", "Straße № 5", "Grüße, 静かな海\n"))
    assert server.mails[0]["Subject"] == "Straße № 5"
    assert server.mails[0].get_content().replace("\r\n", "\n") == "Grüße, 静かな海\n"


@pytest.mark.parametrize("address", ["grün@example.org", "ada@straße.example", "用户@例子.广告"])
async def test_an_international_address_is_sent_as_it_is_written_or_not_at_all(address):
    with SmtpServer(tls="starttls") as server:
        await smtp(server.url).send(Mail(address, "s", "t"))
    assert server.envelopes[0].recipients == (address,)
    assert server.mails[0]["To"].addresses[0] == Address(
        username=address.partition("@")[0], domain=address.partition("@")[2]
    )
    with SmtpServer(takes_international=False) as server:
        error = await failure(smtp(server.url), Mail(address, "s", "t"))
    assert error.is_permanent
    assert server.mails == []


@pytest.mark.parametrize("where", ["recipient_replies", "data_replies"])
@pytest.mark.parametrize(
    ("code", "is_permanent"), [(421, False), (450, False), (452, False), (550, True), (554, True)]
)
async def test_4yz_may_be_retried_and_5yz_may_not(where, code, is_permanent):
    with SmtpServer() as server:
        getattr(server, where).append(f"{code} <ada@example.org> not now")
        transport = smtp(server.url)
        error = await failure(transport)
        assert (error.is_permanent, error.is_retryable) == (is_permanent, not is_permanent)
        assert str(code) in error.message
        await transport.send(MAIL)
    assert len(server.mails) == 1


async def test_a_wrong_password_is_permanent():
    with SmtpServer(tls="starttls", account=ACCOUNT) as server:
        error = await failure(smtp(server.url.replace("skerry:pa", "skerry:wrong")))
    assert error.is_permanent
    assert "535" in error.message
    assert server.mails == []


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
@pytest.mark.parametrize("fault", ["unknown issuer", "other host"])
async def test_a_certificate_that_is_not_trusted_gets_nothing(tls, fault):
    host = "127.0.0.1" if fault == "unknown issuer" else "elsewhere.example"
    with SmtpServer(tls=tls, account=ACCOUNT, certificate_host=host) as server:
        url = server.url.partition("&ca=")[0] if fault == "unknown issuer" else server.url
        error = await failure(smtp(url))
    assert "certificate" in error.message
    assert error.is_permanent
    assert (server.mails, server.logins) == ([], [])


@pytest.mark.parametrize("answer", [b"250-here\r\n250 AUTH PLAIN LOGIN\r\n", b"502 no\r\n"])
async def test_a_server_without_starttls_gets_neither_password_nor_mail(answer):
    seen = []
    replies = {
        "": b"220 hello\r\n",
        "EHLO": answer,
        "HELO": b"250 here\r\n",
        "AUTH": b"235 ok\r\n",
        "MAIL": b"250 ok\r\n",
        "RCPT": b"250 ok\r\n",
        "DATA": b"354 go\r\n",
    }
    async with scripted(replies, seen=seen) as port:
        url = f"smtp://skerry:sesame@127.0.0.1:{port}?{FROM}&tls=starttls"
        error = await failure(smtp(url))
    assert error.is_permanent
    assert {line.split()[0] for line in seen} <= {b"EHLO", b"HELO"}
    assert base64.b64encode(b"sesame").rstrip(b"=") not in b"".join(seen)


@pytest.mark.parametrize(
    "replies",
    [
        {"": None},
        {"": b"220 hello\r\n", "EHLO": None},
        {"": b"220 hello\r\n", "EHLO": b"250-here\r\n250 STARTTLS\r\n", "STARTTLS": b"220 go\r\n"},
    ],
)
async def test_a_server_that_falls_silent_is_given_up(replies):
    async with scripted(replies, seen=[]) as port:
        tls = "starttls" if "STARTTLS" in replies else "none"
        url = f"smtp://127.0.0.1:{port}?{FROM}&tls={tls}"
        error = await failure(smtp(url, command_s_max=0.2))
        assert error.is_retryable
        error = await failure(smtp(url, mail_s_max=0.2))
        assert error.is_retryable


async def test_a_server_that_answers_nonsense_may_be_retried():
    async with scripted({"": b"HTTP/1.1 400 Bad Request\r\n"}, seen=[]) as port:
        error = await failure(smtp(f"smtp://127.0.0.1:{port}?{FROM}"))
    assert error.is_retryable


async def test_no_server_may_be_retried():
    async with scripted({}, seen=[]) as port:
        pass
    assert (await failure(smtp(f"smtp://127.0.0.1:{port}?{FROM}"))).is_retryable


async def test_a_mail_that_was_taken_is_sent_however_the_connection_ends():
    with SmtpServer() as server:
        server.quit_reply = "421 in the middle of something"
        await smtp(server.url).send(MAIL)
    assert len(server.mails) == 1


@pytest.mark.parametrize(
    "address",
    [
        "ada@example.org\r\nBcc: eve@example.org",
        "ada@example.org\n",
        "ada@example.org, eve@example.org",
        "ada@example.org> SIZE=1",
        "<ada@example.org>",
        '"a b"@example.org',
        "ada@[127.0.0.1]",
        "ada@example..org",
        "ada",
        "@example.org",
        "ada@",
        "",
        "a\u202eda@example.org",
        "a\x00da@example.org",
        "a\ud800@example.org",
        "a" * 65 + "@example.org",
        "ä" * 33 + "@example.org",
        "ada@" + "a" * 251,
    ],
)
async def test_what_is_not_one_plain_address_is_refused_unsent(address):
    with SmtpServer() as server:
        error = await failure(smtp(server.url), Mail(address, "s", "t")) if address else None
        if not address:
            with pytest.raises(MailFailed) as caught:
                await smtp(server.url).send(Mail(address, "s", "t"))
            error = caught.value
    assert error is not None
    assert error.is_permanent
    assert server.mails == []


@pytest.mark.parametrize(
    "subject", ["a\r\nBcc: eve@example.org", "a\nb", "a\x00", "a\u2028b", "a" * 201]
)
async def test_a_subject_that_could_be_a_header_is_refused(subject):
    with SmtpServer() as server:
        error = await failure(smtp(server.url), Mail("ada@example.org", subject, "t"))
    assert error.is_permanent
    assert server.mails == []


@pytest.mark.parametrize("text", ["a" * 20_001, "\ud800"])
async def test_a_text_that_cannot_be_sent_is_refused(text):
    error = await failure(smtp(f"smtp://127.0.0.1:1?{FROM}"), Mail("ada@example.org", "s", text))
    assert error.is_permanent


def test_a_url_says_everything():
    settings = parse_smtp_url(
        "smtp://u%40x:p%2Fw@mail.example.org?from=Skerry%20%3Cno-reply%40example.org%3E&ca=a.pem"
    )
    assert (settings.host, settings.port, settings.tls) == ("mail.example.org", 587, Tls.STARTTLS)
    assert (settings.user, settings.password) == ("u@x", "p/w")
    assert settings.sender == Address("Skerry", "no-reply", "example.org")
    assert settings.ca == Path("a.pem")
    assert "p/w" not in repr(settings)


@pytest.mark.parametrize(
    ("start", "tls", "port"),
    [
        ("smtps://mail.example.org?", Tls.IMPLICIT, 465),
        ("smtps://localhost:1465?", Tls.IMPLICIT, 1465),
        ("smtp://mail.example.org?tls=implicit&", Tls.IMPLICIT, 465),
        ("smtp://mail.example.org?tls=none&", Tls.NONE, 25),
        ("smtp://127.0.0.1?", Tls.NONE, 25),
        ("smtp://[::1]:2525?", Tls.NONE, 2525),
        ("smtp://localhost?tls=starttls&", Tls.STARTTLS, 587),
        ("smtp://127.0.0.1.example.org?", Tls.STARTTLS, 587),
    ],
)
def test_what_is_left_out_is_safe(start, tls, port):
    settings = parse_smtp_url(start + FROM)
    assert (settings.tls, settings.port) == (tls, port)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://u:sesame@h?" + FROM,
        "smtp://u:sesame@h",
        "smtp://u:sesame@h?from=nobody",
        "smtp://u:sesame@h?from=a%0Ab%20%3Cx%40example.org%3E",
        "smtp://u:sesame@h?from=%C3%BC%40example.org",
        "smtp://u:sesame@h?tls=no&" + FROM,
        "smtp://u:sesame@h?tls=none&" + FROM,
        "smtps://u:sesame@h?tls=starttls&" + FROM,
        "smtp://u:sesame@h?sesame=1&" + FROM,
        f"smtp://u:sesame@h?{FROM}&{FROM}",
        "smtp://u:ses/same@h?" + FROM,
        "smtp://u:sesame?x@h?" + FROM,
        "smtp://u:sesame#x@h?" + FROM,
        "smtp://u:sesame\u2100@h?" + FROM,
        "smtp://u:sesame%ff@h?" + FROM,
        "smtp://u:sesame%0d@h?" + FROM,
        "smtp://u:sesame@h:sesame?" + FROM,
        "smtp://u:sesame@h:99999?" + FROM,
        "smtp://u:sesame@[h?" + FROM,
        "smtp://:sesame@h?" + FROM,
        "smtp://sesame@h?" + FROM,
        "smtp://u:sesame@?" + FROM,
        "smtp://u:sesame@h/sesame?" + FROM,
        "smtp://u:sesame@h?" + FROM + "&ca=" + "a" * 2_000,
    ],
)
def test_a_wrong_url_is_refused_without_repeating_it(url):
    with pytest.raises(ValueError, match=r"SMTP URL|tls=none") as caught:
        parse_smtp_url(url)
    assert "ses" not in str(caught.value).replace("addresses", "")
    assert caught.value.__context__ is None or caught.value.__suppress_context__


@given(st.text(max_size=40))
def test_any_text_as_a_url_is_refused_by_a_value_error_or_read(text):
    for url in (text, f"smtp://{text}", f"smtp://u:{text}@h?{FROM}", f"smtp://h?{FROM}&{text}"):
        try:
            settings = parse_smtp_url(url)
        except ValueError as error:
            assert len(text) < 8 or text not in str(error)  # noqa: PT017
        else:
            assert settings.sender.domain == "example.org" or "from=" in text


def test_a_ca_that_cannot_be_read_is_noticed_at_the_start(tmp_path):
    (tmp_path / "empty.pem").write_text("")
    for name in ("none.pem", "empty.pem"):
        settings = parse_smtp_url(f"smtps://h?{FROM}&ca={tmp_path / name}")
        with pytest.raises(ValueError, match="ca"):
            Smtp(settings)
