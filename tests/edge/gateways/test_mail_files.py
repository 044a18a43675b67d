"""Mail as files: readable, ordered, bounded, private."""

import asyncio
from email import message_from_bytes, policy

import pytest

from edge.gateways.mail_files import MailFiles
from edge.ports.mail import Mail, MailFailed


def read(folder):
    return [
        message_from_bytes(path.read_bytes(), policy=policy.default)
        for path in sorted(folder.iterdir())
    ]


async def test_a_mail_becomes_a_file_that_only_its_owner_reads(tmp_path):
    transport = MailFiles(tmp_path / "mails")
    await transport.send(Mail("ada@example.org", "Grüße", "Hello\n\n123456\n"))
    await transport.close()
    (path,) = (tmp_path / "mails").iterdir()
    assert path.suffix == ".eml"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    (mail,) = read(tmp_path / "mails")
    assert (mail["To"], mail["Subject"]) == ("ada@example.org", "Grüße")
    assert "123456" in mail.get_content().splitlines()


@pytest.mark.parametrize("step_ns", [1, 0, -1])
async def test_names_sort_by_time_and_the_oldest_go(tmp_path, step_ns):
    times = iter(range(10**18, 10**18 + 10 * (step_ns or 1), step_ns or 1))
    transport = MailFiles(
        tmp_path, mails_kept=3, clock_ns=lambda: next(times) if step_ns else 10**18
    )
    for number in range(5):
        await transport.send(Mail("ada@example.org", f"Mail {number}", ""))
    assert [mail["Subject"] for mail in read(tmp_path)] == ["Mail 2", "Mail 3", "Mail 4"]


async def test_mails_at_once_are_all_kept(tmp_path):
    transport = MailFiles(tmp_path, clock_ns=lambda: 1)
    mails = [Mail("ada@example.org", f"Mail {number}", "") for number in range(20)]
    await asyncio.gather(*(transport.send(mail) for mail in mails))
    assert {mail["Subject"] for mail in read(tmp_path)} == {mail.subject for mail in mails}


async def test_what_a_crash_left_does_not_matter(tmp_path):
    (tmp_path / ".mail.partial").write_text("half")
    await MailFiles(tmp_path).send(Mail("ada@example.org", "s", "t"))
    assert [mail["Subject"] for mail in read(tmp_path)] == ["s"]


async def test_a_folder_that_cannot_be_written_may_be_retried(tmp_path):
    (tmp_path / "mails").write_text("a file")
    with pytest.raises(MailFailed) as caught:
        await MailFiles(tmp_path / "mails").send(Mail("ada@example.org", "s", "t"))
    assert caught.value.is_retryable
    assert str(tmp_path) not in caught.value.message


async def test_what_could_be_a_header_is_refused(tmp_path):
    for mail in (Mail("ada@example.org\r\nBcc: b@c.d", "s", "t"), Mail("a@b.c", "s\r\nX: y", "t")):
        with pytest.raises(MailFailed) as caught:
            await MailFiles(tmp_path).send(mail)
        assert caught.value.is_permanent
    assert list(tmp_path.iterdir()) == []
