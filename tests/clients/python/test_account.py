"""The account of the client: ways in, and a session that nothing but the server's word ends."""

import asyncio
import random

import httpx
import pytest

from skerry_client import (
    Account,
    AccountRefused,
    FileTokenStore,
    NoAnswer,
    SignedOut,
    SignInRefused,
    Skerry,
    StepUpNeeded,
    VaultUnreadable,
)
from sync_protocol.faults import FaultKind
from tests.clients.python.fake_server import FakeServer
from tests.clients.python.identity_server import CODE, IdentityServer, problem
from tests.clients.python.links import http_to
from tests.clients.python.survey import NORTH, Note, database, survey

EMAIL = "ada@example.org"


class Phone:
    """An account, its server and its clock."""

    def __init__(self, folder):
        self.server = IdentityServer()
        self.vault = folder / "account.json"
        self.store = FileTokenStore(self.vault)
        self.now_ms = self.server.now_s * 1_000
        self.account = self.start()

    def start(self, store=None):
        return Account(
            "http://test/", store or self.store, http_transport=self.server.transport,
            now_unix_ms=lambda: self.now_ms,
        )  # fmt: skip

    def pass_time(self, seconds):
        self.now_ms += seconds * 1_000
        self.server.now_s += seconds


@pytest.fixture
async def phone(tmp_path):
    phone = Phone(tmp_path)
    async with phone.account:
        yield phone


async def named(phone):
    flow = await phone.account.register(EMAIL, "correct horse")
    return await phone.account.finish_registration(flow, CODE)


# --- ways in ---------------------------------------------------------------------------------


async def test_every_way_in(phone):
    account = phone.account
    assert (account.person, account.is_signed_in) == (None, False)
    ada = await named(phone)
    assert account.person == ada
    assert await account.sign_in(EMAIL, "correct horse") == ada
    assert await account.sign_in_with_code(await account.request_code(EMAIL), CODE) == ada
    flow = await account.request_reset(EMAIL)
    assert await account.finish_reset(flow, CODE, "battery staple") == ada
    assert await account.sign_in(EMAIL, "battery staple") == ada
    flow, nonce = await account.begin_oidc()
    assert len(nonce) == 22
    assert await account.sign_in_with_id_token(flow, "signed") == account.person != ada
    assert len(phone.server.keys) == 1, "one device, one key"


async def test_what_is_wrong_is_refused_and_signs_nobody_out(phone):
    ada = await named(phone)
    with pytest.raises(SignInRefused, match="invalid-grant"):
        await phone.account.sign_in(EMAIL, "wrong")
    with pytest.raises(SignInRefused):
        await phone.account.step_up("wrong")
    with pytest.raises(SignInRefused):
        await phone.account.sign_in_with_code(await phone.account.request_code(EMAIL), "000000")
    assert phone.account.person == ada
    assert await phone.account.token()


async def test_an_anonymous_person_becomes_a_named_one_and_stays_the_same(phone):
    person = await phone.account.sign_in_anonymously()
    assert phone.account.is_anonymous
    await phone.account.finish_email(await phone.account.add_email(EMAIL, "correct horse"), CODE)
    assert (phone.account.person, phone.account.is_anonymous) == (person, False)
    assert not phone.start().is_anonymous
    assert await phone.account.sign_in(EMAIL, "correct horse") == person


async def test_dangerous_operations_ask_for_a_fresh_proof(phone):
    await named(phone)
    phone.pass_time(600)
    with pytest.raises(StepUpNeeded):
        await phone.account.delete()
    assert phone.account.is_signed_in
    await phone.account.step_up("correct horse")
    await phone.account.delete()
    assert (phone.account.is_signed_in, phone.vault.exists(), phone.server.people) == (
        False, False, {},
    )  # fmt: skip


async def test_sessions_are_listed_and_ended(phone, tmp_path):
    await named(phone)
    other = phone.start(FileTokenStore(tmp_path / "other.json"))
    await other.sign_in(EMAIL, "correct horse")
    first, second = sorted(await phone.account.sessions(), key=lambda s: not s.is_current)
    assert (first.is_current, second.is_current) == (True, False)
    await phone.account.end_session(second.id)
    phone.pass_time(600)
    with pytest.raises(SignedOut):
        await other.token()
    assert await phone.account.token()
    await other.close()


@pytest.mark.parametrize("is_online", [True, False])
async def test_signing_out_needs_no_network(phone, is_online):
    await named(phone)
    if not is_online:
        phone.server.instead = lambda _request: httpx.Response(502)
    assert await phone.account.sign_out() is is_online
    assert not phone.start().is_signed_in
    with pytest.raises(SignedOut):
        await phone.account.token()
    with pytest.raises(SignedOut):
        await phone.account.sessions()


async def test_a_refused_token_is_replaced_once(phone):
    await named(phone)
    phone.server.refused_tokens.add(await phone.account.token())
    assert len(await phone.account.sessions()) == 1
    assert phone.server.refreshes == 1
    phone.server.instead = lambda request: (
        problem(401, "unauthenticated") if "/me/" in request.url.path else None
    )
    with pytest.raises(AccountRefused) as refusal:
        await phone.account.sessions()
    assert refusal.value.fault is FaultKind.UNAUTHENTICATED
    assert phone.account.is_signed_in


# --- tokens ----------------------------------------------------------------------------------


async def test_a_token_is_used_until_thirty_seconds_before_its_end(phone):
    await named(phone)
    token = await phone.account.token()
    phone.pass_time(569)
    assert await phone.account.token() == token
    phone.pass_time(1)
    assert await phone.account.token() != token
    assert phone.server.refreshes == 1


async def test_a_clock_set_back_keeps_no_token_alive(phone):
    await named(phone)
    token = await phone.account.token()
    phone.now_ms -= 60_000
    assert await phone.account.token() != token


async def test_a_refused_token_is_not_given_out_again(phone):
    await named(phone)
    token = await phone.account.token()
    fresh = await phone.account.token(refused=token)
    assert fresh != token
    assert await phone.account.token(refused=token) == fresh
    assert phone.server.refreshes == 1


async def test_eight_callers_share_one_refresh(phone):
    await named(phone)
    phone.pass_time(600)
    tokens = await asyncio.gather(*[phone.account.token() for _ in range(8)])
    assert (len(set(tokens)), phone.server.refreshes) == (1, 1)


async def test_eight_callers_share_one_failure(phone):
    await named(phone)
    phone.pass_time(600)
    phone.server.instead = lambda _request: problem(429, "rate-limited", retry_after_ms=7_000)
    troubles = await asyncio.gather(
        *[phone.account.token() for _ in range(8)], return_exceptions=True
    )
    assert [t.retry_after_ms for t in troubles if isinstance(t, NoAnswer)] == [7_000] * 8
    assert phone.server.refreshes == 1
    phone.server.instead = lambda _request: None
    assert await phone.account.token()


async def test_the_vault_survives_a_restart(phone):
    person = await named(phone)
    again = phone.start()
    assert again.person == person
    assert await again.token()
    await again.close()


# --- what never signs out --------------------------------------------------------------------


def cut(_request):
    raise httpx.ConnectError("tunnel")


TROUBLES = {
    "no network": cut,
    "a bare 500": lambda _r: httpx.Response(500),
    "overloaded": lambda _r: problem(503, "overloaded", retry_after_ms=1_000),
    "too many": lambda _r: problem(429, "rate-limited", retry_after_ms=1_000),
    "forbidden": lambda _r: problem(403, "forbidden"),
    "unauthenticated": lambda _r: problem(401, "unauthenticated"),
    "no tenant": lambda _r: problem(404, "unknown-tenant"),
    "internal": lambda _r: problem(500, "internal"),
    "a portal": lambda _r: httpx.Response(200, text="<h1>Welcome to the hotel</h1>"),
    "a redirect": lambda _r: httpx.Response(302, headers={"location": "http://hotel/"}),
    "half an answer": lambda _r: httpx.Response(200, json={"access_token": "a"}),
    "a proxy's 400": lambda _r: httpx.Response(400, json={"fault": "invalid-grant"}),
    "another status": lambda _r: problem(502, "invalid-grant"),
    "an unknown fault": lambda _r: problem(400, "session-gone"),
    "a fault that is none": lambda _r: problem(400, None),
    "no time": lambda _r: problem(400, "clock-apart"),
    "clocks apart for ever": lambda _r: problem(400, "clock-apart", now_unix_s=5),
    "too large": lambda _r: httpx.Response(200, content=b" " * 300_000),
    "wrongly packed": lambda _r: httpx.Response(
        200, content=b"garbage", headers={"content-encoding": "gzip"}
    ),
    "somebody else": lambda _r: httpx.Response(
        200,
        json={
            "access_token": "a", "expires_in": 600, "refresh_token": "r", "session": "s",
            "generation": 1, "tenant": "main", "person": "mallory", "kind": "named",
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_trouble_never_signs_out(phone, trouble):
    person = await named(phone)
    phone.pass_time(600)
    kept = phone.vault.read_bytes()
    phone.server.instead = TROUBLES[trouble]
    for _ in range(3):
        with pytest.raises((NoAnswer, AccountRefused)):
            await phone.account.token()
    assert (phone.account.person, phone.vault.read_bytes()) == (person, kept)
    phone.server.instead = lambda _request: None
    assert await phone.account.token()


async def test_the_servers_word_signs_out(phone):
    await named(phone)
    phone.server.end(next(iter(phone.server.sessions)))
    phone.pass_time(600)
    for _ in range(3):
        with pytest.raises(SignedOut):
            await phone.account.token()
    assert phone.server.refreshes == 1, "what has ended is not asked for again"
    assert not phone.start().is_signed_in
    assert await phone.account.sign_in(EMAIL, "correct horse")
    assert await phone.account.token()


@pytest.mark.parametrize("seconds", [-86_400, 86_400])
async def test_a_phone_with_a_wrong_clock_takes_the_servers_time(phone, seconds):
    phone.now_ms += seconds * 1_000
    await phone.account.sign_in_anonymously()
    assert phone.server.asked == ["/v1/auth/anonymous"] * 2
    phone.pass_time(600)
    assert await phone.account.token()
    assert phone.server.refreshes == 1, "the offset is known by now"
    again = phone.start()
    assert await again.token()
    assert phone.server.refreshes == 3
    await again.close()


async def test_lost_answers_never_sign_out(phone):
    dice = random.Random(7)
    person = await named(phone)
    phone.server.lose = lambda request: "refresh" in request.url.path and dice.random() < 0.5
    got = lost = 0
    while got < 50:
        phone.pass_time(600)
        try:
            await phone.account.token()
            got += 1
        except NoAnswer:
            lost += 1
        if dice.random() < 0.2:
            await phone.account.close()
            phone.account = phone.start()
    assert lost > 20
    assert phone.account.person == person
    (session,) = phone.server.sessions.values()
    assert session.generation >= 50


class Crashing(FileTokenStore):
    """Fails before or after it has saved."""

    before = after = False

    def save(self, document, /):
        if self.before:
            raise OSError("the disk is full")
        super().save(document)
        if self.after:
            raise OSError("the disk went away")


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("restarts", ["never", "after each", "after two"])
async def test_a_crash_between_answer_and_save_never_signs_out(phone, moment, restarts):
    await named(phone)
    store = Crashing(phone.vault)
    account = phone.start(store)
    for _ in range(5):
        phone.pass_time(600)
        for attempt, fails in enumerate((True, True, False), 1):
            setattr(store, moment, fails)
            try:
                await account.token()
                assert not fails, "a token was given out that is not safe"
            except OSError:
                assert fails
            if restarts == "after each" or (restarts == "after two" and attempt == 2):
                await account.close()
                account = phone.start(store)
    assert account.is_signed_in
    await account.close()


async def test_the_new_token_is_saved_before_the_access_token_is_given(phone):
    await named(phone)
    phone.pass_time(600)
    await phone.account.token()
    assert phone.server.presented == [0]
    document = phone.store.load()
    assert document is not None
    assert ".1.session-" in document["refresh_token"]


async def test_a_cancelled_refresh_never_signs_out(phone):
    await named(phone)
    phone.pass_time(600)
    hanging = asyncio.Event()
    real = phone.server.handle

    async def answered_late(request):
        answer = await real(request)
        hanging.set()
        await asyncio.sleep(30)
        return answer

    account = Account(
        "http://test", phone.store, http_transport=httpx.MockTransport(answered_late),
        now_unix_ms=lambda: phone.now_ms,
    )  # fmt: skip
    for _ in range(3):
        hanging.clear()
        task = asyncio.create_task(account.token())
        await asyncio.wait_for(hanging.wait(), 5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await account.close()
    assert await phone.account.token()


async def test_two_processes_share_a_vault(phone):
    await named(phone)
    other = phone.start()
    for round_number in range(6):
        phone.pass_time(600)
        for account in (other, phone.account) if round_number % 3 else (other,):
            await account.token()
    assert await phone.account.token()
    assert other.is_signed_in
    await other.sign_out()
    phone.pass_time(600)
    with pytest.raises(SignedOut):
        await phone.account.token()
    await other.close()


# --- the vault -------------------------------------------------------------------------------


async def test_only_the_owner_reads_the_file(phone):
    await named(phone)
    assert phone.vault.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in phone.vault.parent.iterdir()] == ["account.json"]


def test_a_save_that_fails_leaves_the_old_document(tmp_path, monkeypatch):
    store = FileTokenStore(tmp_path / "account.json")
    assert store.load() is None
    store.save({"a": 1})

    def full(_descriptor):
        raise OSError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(OSError, match="full"):
            store.save({"a": 2})
    assert store.load() == {"a": 1}
    assert len(list(tmp_path.iterdir())) == 1
    store.clear()
    store.clear()
    assert store.load() is None


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff", b"[]", b'{"key": 1}', b'{"key": "A", "tenant": "main"}', b'{"tenant": "other"}'],
)
async def test_an_unreadable_vault_is_said_and_kept(phone, content):
    phone.vault.write_bytes(content)
    with pytest.raises(VaultUnreadable):
        await phone.account.sign_in_anonymously()
    assert phone.vault.read_bytes() == content
    phone.store.clear()
    assert await phone.account.sign_in_anonymously()


# --- the sync --------------------------------------------------------------------------------


async def test_the_sync_gets_its_tokens_from_the_account(phone, tmp_path):
    await named(phone)
    seen = []

    def gate(request):
        token = request.headers["authorization"].removeprefix("Bearer ")
        seen.append(token)
        request.headers["authorization"] = "Bearer token"  # the only one that links know
        if token in phone.server.refused_tokens:
            return problem(401, "unauthenticated")
        return None

    data = FakeServer(survey(), [NORTH])
    skerry = Skerry(
        database(tmp_path), survey(), url="http://test/", background=False,
        token=phone.account.token, http_transport=http_to(data, lose=gate),
    )  # fmt: skip
    async with skerry:
        skerry.insert(Note, space=NORTH, text="one")
        assert (await skerry.sync()).is_current
        phone.server.refused_tokens.add(seen[-1])
        skerry.insert(Note, space=NORTH, text="two")
        assert (await skerry.sync()).pending == 0
        assert (len(set(seen)), phone.server.refreshes) == (2, 1)

        phone.server.refused_tokens.add(seen[-1])
        phone.server.end(next(iter(phone.server.sessions)))
        skerry.insert(Note, space=NORTH, text="three")
        status = await skerry.sync()
        assert (status.fault, status.pending) == (FaultKind.UNAUTHENTICATED, 1)
        assert "sign in again" in status.message
        assert len(skerry.rows(Note)) == 3

        await phone.account.sign_in(EMAIL, "correct horse")
        status = await skerry.sync()
        assert (status.fault, status.pending, status.is_current) == (None, 0, True)
