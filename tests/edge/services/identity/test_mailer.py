"""The mailer: posting tells nothing, retries are bounded, logs are silent about people."""

import asyncio
import json

import pytest
from structlog.testing import capture_logs

from edge.ports.mail import Mail, MailFailed
from edge.services.identity.mailer import CONNECTIONS_MAX, Mailer

MAIL = Mail("ada@example.org", "A subject", "the code 123456")
LATER = MailFailed("the mail server answered 450", is_permanent=False)
NEVER = MailFailed("the mail server answered 550", is_permanent=True)


class Transport:
    """Fails as told, then takes; sends only while `gate` is open."""

    def __init__(self, *failures):
        self.failures = list(failures)
        self.taken = []
        self.attempts = 0
        self.at_once = 0
        self.at_once_max = 0
        self.is_closed = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def send(self, mail):
        assert not self.is_closed
        self.attempts += 1
        self.at_once += 1
        self.at_once_max = max(self.at_once, self.at_once_max)
        try:
            await self.gate.wait()
            if self.failures and (failure := self.failures.pop(0)) is not None:
                raise failure
            self.taken.append(mail)
        finally:
            self.at_once -= 1

    async def close(self):
        self.is_closed = True


@pytest.fixture
def logs():
    with capture_logs() as entries:
        yield entries
    shown = json.dumps(entries, default=repr)
    for secret in ("ada", "subject", "123456"):
        assert secret not in shown


def mailer(transport, **options):
    made = Mailer(transport, **{"wait_initial_s": 0, "wait_jitter_s": 0, **options})
    made.start()
    return made


async def until(is_so):
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110  (what is waited for has no event)
            await asyncio.sleep(0.001)


async def settled(made):
    await until(lambda: not made.waiting)


def counts(made):
    return (made.sent, made.failed, made.dropped)


async def test_a_posted_mail_is_sent_behind_the_callers_back(logs):
    transport = Transport()
    made = mailer(transport)
    assert made.post(MAIL) is None
    assert transport.attempts == 0
    await settled(made)
    assert transport.taken == [MAIL]
    assert counts(made) == (1, 0, 0)
    await made.close()
    assert transport.is_closed
    assert logs == []


async def test_what_may_be_retried_is_retried(logs):
    transport = Transport(LATER, LATER)
    made = mailer(transport)
    made.post(MAIL)
    await settled(made)
    assert transport.attempts == 3
    assert counts(made) == (1, 0, 0)
    assert [entry["event"] for entry in logs] == ["stamina.retry_scheduled"] * 2


async def test_retries_end(logs):
    transport = Transport(*[LATER] * 10)
    made = mailer(transport, attempts_max=4)
    made.post(MAIL)
    await settled(made)
    assert transport.attempts == 4
    assert counts(made) == (0, 1, 0)
    assert logs[-1]["event"] == "mail-failed"
    assert logs[-1]["reason"] == "the mail server answered 450"


@pytest.mark.parametrize("failure", [NEVER, RuntimeError("about ada@example.org"), OSError("ada")])
async def test_what_will_never_be_taken_is_tried_once(failure, logs):
    transport = Transport(failure)
    made = mailer(transport)
    made.post(MAIL)
    made.post(MAIL)
    await settled(made)
    assert transport.attempts == 2
    assert counts(made) == (1, 1, 0)


async def test_more_than_there_is_room_for_is_dropped(logs):
    transport = Transport()
    transport.gate.clear()
    made = mailer(transport, waiting_max=3)
    for _ in range(5):
        made.post(MAIL)
    assert (made.waiting, made.dropped) == (3, 2)
    transport.gate.set()
    await settled(made)
    made.post(MAIL)
    await settled(made)
    assert counts(made) == (4, 0, 2)
    assert [entry["event"] for entry in logs] == ["mail-dropped"] * 2


async def test_connections_are_bounded():
    transport = Transport()
    transport.gate.clear()
    made = mailer(transport)
    for _ in range(3 * CONNECTIONS_MAX):
        made.post(MAIL)
    await until(lambda: transport.attempts >= CONNECTIONS_MAX)
    transport.gate.set()
    await settled(made)
    assert transport.at_once_max == CONNECTIONS_MAX
    assert made.sent == 3 * CONNECTIONS_MAX


async def test_mails_that_wait_for_a_retry_hold_up_no_other(logs):
    transport = Transport(*[LATER] * 2 * CONNECTIONS_MAX)
    made = mailer(transport, wait_initial_s=60, drain_s_max=0)
    for _ in range(2 * CONNECTIONS_MAX):
        made.post(MAIL)
    made.post(MAIL)
    await until(lambda: transport.taken)
    assert made.waiting == 2 * CONNECTIONS_MAX
    await made.close()


async def test_a_mail_that_waits_too_long_is_given_up(logs):
    transport = Transport()
    transport.gate.clear()
    made = mailer(transport, life_s_max=0.01)
    made.post(MAIL)
    await settled(made)
    assert counts(made) == (0, 1, 0)
    assert logs[-1]["reason"] == "it waited too long"


async def test_closing_sends_what_is_on_its_way(logs):
    transport = Transport(LATER)
    made = mailer(transport)
    made.post(MAIL)
    made.post(MAIL)
    await made.close()
    assert counts(made) == (2, 0, 0)
    assert transport.is_closed


async def test_closing_does_not_wait_for_ever(logs):
    transport = Transport()
    transport.gate.clear()
    made = mailer(transport, drain_s_max=0.01)
    for _ in range(2 * CONNECTIONS_MAX):
        made.post(MAIL)
    await made.close()
    assert made.waiting == 0
    assert counts(made) == (0, 0, 2 * CONNECTIONS_MAX)
    assert transport.is_closed
    made.post(MAIL)
    assert made.dropped == 2 * CONNECTIONS_MAX + 1


async def test_a_mailer_that_does_not_run_takes_nothing(logs):
    made = Mailer(Transport())
    made.post(MAIL)
    assert counts(made) == (0, 0, 1)
    await made.close()


def test_a_printed_mail_shows_no_one():
    assert repr(MAIL) == "Mail(subject='A subject')"
