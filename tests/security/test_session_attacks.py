"""Sessions: lost answers log nobody out; stolen, replayed and revoked things open nothing."""

import asyncio
import random

import pytest

from edge.errors import Unauthenticated
from edge.identity_wiring import CONTROL_FILE
from edge.repositories.control.database import SqlControlDatabase
from edge.services.identity.proofs import Proofs
from edge.services.identity.sessions import Sessions
from edge.services.identity.trust import Trust
from edge.services.keys import KeyRing
from edge.services.tokens import Tokens
from edge.storage.sqlite import SqliteEngine
from tests.security.attacked import attacked_node
from tests.security.phones import bearer, code_in

SECONDS_MAX = 2


@pytest.fixture
async def node(tmp_path):
    origins = ("https://app.example.org",)
    async with attacked_node(tmp_path, origins=origins, tenants=("main", "other")) as running:
        yield running


@pytest.fixture
async def reading(node):
    """The control database as a second, reading process has it."""
    engine = SqliteEngine(node.settings.data / CONTROL_FILE, is_writer=False)
    await engine.open()
    control = SqlControlDatabase(engine)
    yield control
    await control.close()


async def until(is_so):
    async with asyncio.timeout(SECONDS_MAX):
        while not await is_so():  # noqa: ASYNC110  (what is waited for has no event)
            await asyncio.sleep(0.01)


def fault_of(answer):
    return answer.json()["fault"]


# --- lost answers ---------------------------------------------------------------------------------


async def test_lost_answers_of_parallel_refreshes_log_nobody_out(node):
    chance, phone = random.Random(8), await node.phone().sign_in()
    for _ in range(7):  # as many as the limit of a device takes in a minute
        token = phone.refresh_token
        answers = await asyncio.gather(
            *(phone.refresh(token, is_answer_lost=True) for _ in range(8))
        )
        assert [answer.status_code for answer in answers] == [200] * 8
        assert len({answer.json()["refresh_token"] for answer in answers}) == 1
        arrived = [answer for answer in answers if chance.random() < 0.5]
        if arrived:
            phone.keep(arrived[0].json())
        assert await phone.is_signed_in()
    assert "session.reuse" not in await node.audit()


async def test_a_phone_whose_every_answer_is_lost_stays_signed_in(node):
    phone = await node.phone().sign_in()
    for _ in range(20):
        assert (await phone.refresh(is_answer_lost=True)).status_code == 200
    assert (await phone.refresh()).json()["generation"] == 1
    assert await phone.is_signed_in()


# --- old and stolen refresh tokens ----------------------------------------------------------------


async def test_a_token_two_generations_old_ends_the_session(node):
    phone = await (await node.phone().sign_in()).attach(node, "ada@example.org")
    oldest, accesses = phone.refresh_token, [phone.access]
    for _ in range(2):
        assert (await phone.refresh()).status_code == 200
        accesses.append(phone.access)
    newest, session = phone.refresh_token, phone.session
    answer = await phone.refresh(oldest)
    assert (answer.status_code, fault_of(answer)) == (400, "invalid-grant")
    for access in accesses:
        refused = await node.client.get("/v1/me", headers=bearer(access))
        assert refused.status_code == 401
    for token in (newest, oldest):
        assert (await phone.refresh(token)).status_code == 400
    reuse = (await node.audit())["session.reuse"]
    assert (reuse["subject"], reuse["detail"]["session"]) == (phone.person, session)

    async def is_told():
        return "signed out" in await node.last_mail("ada@example.org")

    await until(is_told)


async def test_a_stolen_refresh_token_is_worth_nothing_without_its_key(node):
    phone, thief = await node.phone().sign_in(), node.phone()
    old = phone.refresh_token
    await phone.refresh()
    await phone.refresh()
    for token in (phone.refresh_token, old):
        answer = await thief.refresh(token)
        assert (answer.status_code, fault_of(answer)) == (400, "invalid-grant")
    assert await phone.is_signed_in()
    assert (await phone.refresh()).status_code == 200
    theft = (await node.audit())["session.refresh-without-key"]
    assert (theft["subject"], theft["detail"]["session"]) == (phone.person, phone.session)


async def test_the_thief_hears_what_a_guesser_hears(node):
    phone, thief = await node.phone().sign_in(), node.phone()
    prefix, generation, session, tenant = phone.refresh_token.split(".")
    attempts = [
        phone.refresh_token,
        f"skr_{'A' * 43}.{generation}.{session}.{tenant}",
        f"{prefix}.{generation}.nobody.{tenant}",
        f"{prefix}.{generation}.{session}.other",
        f"{prefix}.9.{session}.{tenant}",
        "nothing",
    ]
    heard = []
    for attempt in attempts:
        answer = await thief.refresh(attempt)
        told = {**answer.json(), "instance": ""}
        heard.append((answer.status_code, told))
    assert all(one == heard[0] for one in heard), heard
    assert await phone.is_signed_in()


async def test_a_generation_is_not_for_the_client_to_say(node):
    for generation in ("-1", "+0", "1e3", "²", "3", "4294967296", "9" * 10, "9" * 11, ""):
        phone = await node.phone().sign_in()
        for _ in range(2):
            await phone.refresh()
        prefix, _, session, tenant = phone.refresh_token.split(".")
        answer = await phone.refresh(f"{prefix}.{generation}.{session}.{tenant}")
        assert answer.status_code == 400, generation
        assert await phone.is_signed_in()


# --- proofs ---------------------------------------------------------------------------------------


async def test_a_proof_is_good_once(node):
    phone = await node.phone().sign_in()
    body = phone.refresh_body()
    first = await node.client.post("/v1/auth/refresh", json=body)
    again = await node.client.post("/v1/auth/refresh", json=body)
    assert (first.status_code, again.status_code) == (200, 400)
    phone.keep(first.json())
    assert (await phone.refresh()).status_code == 200
    device = phone.device()
    assert (await phone.enter("anonymous", device=device)).status_code == 200
    assert (await phone.enter("anonymous", device=device)).status_code == 400


async def test_a_proof_is_good_for_one_purpose_one_subject_one_content(node):
    phone = await node.phone().sign_in()
    token = phone.refresh_token
    proofs = [
        phone.proof("sign-in", token),
        phone.proof("refresh", "main"),
        phone.proof("refresh", token + "x"),
        {**phone.proof("refresh", token), "nonce": "A" * 22},
    ]
    proof = phone.proof("refresh", token)
    proofs.append({**proof, "at": proof["at"] + 1})
    for tampered in proofs:
        body = {"refresh_token": token, "proof": tampered}
        assert (await node.client.post("/v1/auth/refresh", json=body)).status_code == 400
    device = phone.device()
    device["proof"] = phone.proof("refresh", "main")
    assert (await phone.enter("anonymous", device=device)).status_code == 400
    elsewhere = await phone.enter("anonymous", device=phone.device(), tenant="other")
    assert elsewhere.status_code == 400
    assert await phone.is_signed_in()
    assert (await phone.refresh()).status_code == 200


async def test_a_phone_whose_clock_is_wrong_is_told_the_time(node):
    phone = await node.phone().sign_in()
    for age_s in (600, -600):
        answer = await phone.refresh(age_s=age_s)
        assert (answer.status_code, fault_of(answer)) == (400, "clock-apart")
        told = answer.json()["now_unix_s"]
        assert abs(told - node.clock.time()) <= 60
        assert await phone.is_signed_in()
        assert (await phone.refresh(age_s=int(node.clock.time() - told))).status_code == 200


# --- revocation -----------------------------------------------------------------------------------


async def test_an_ended_session_is_refused_in_every_process(node, reading):
    trust = Trust(reading, KeyRing(node.keys))
    await trust.start()
    elsewhere = Tokens(trust, lifetime_s_max=node.settings.token_lifetime_s_max)
    phone, other = await node.phone().sign_in(), await node.phone().sign_in()
    assert elsewhere.verify(phone.access).person == phone.person
    assert (await phone.ask("POST", "/v1/me/sign-out")).status_code == 204
    assert not await phone.is_signed_in()
    assert (await phone.refresh()).status_code == 400

    async def is_refused():
        try:
            elsewhere.verify(phone.access)
        except Unauthenticated:
            return True
        return False

    await until(is_refused)
    assert elsewhere.verify(other.access).person == other.person
    await trust.close()


async def test_nobody_ends_or_lists_somebody_elses_session(node):
    ada, eve = await node.phone().sign_in(), await node.phone().sign_in()
    assert (await eve.ask("DELETE", f"/v1/me/sessions/{ada.session}")).status_code == 404
    assert (await eve.ask("DELETE", "/v1/me/sessions")).json() == {"ended": 0}
    listed = (await eve.ask("GET", "/v1/me/sessions")).json()["sessions"]
    assert [session["id"] for session in listed] == [eve.session]
    assert await ada.is_signed_in()


async def test_signing_in_again_on_a_device_ends_its_older_session(node):
    phone = await node.phone().register(node, "ada@example.org")
    old = phone.access
    assert (await phone.password("ada@example.org")).status_code == 200
    assert (await node.client.get("/v1/me", headers=bearer(old))).status_code == 401
    assert await phone.is_signed_in()


async def test_a_reset_password_ends_what_a_thief_has_open(node):
    email = "ada@example.org"
    ada = await node.phone().register(node, email)
    thief = node.phone()
    assert (await thief.password(email)).status_code == 200
    begun = await node.client.post("/v1/auth/reset", json={"email": email})
    code = code_in(await node.last_mail(email))
    fields = {"flow": begun.json()["flow"], "code": code, "password": "another good one"}
    assert (await ada.enter("reset/finish", **fields)).status_code == 200
    assert not await thief.is_signed_in()
    assert (await thief.refresh()).status_code == 400
    assert (await thief.password(email)).status_code == 400
    assert await ada.is_signed_in()


# --- a node that only reads -----------------------------------------------------------------------


async def test_a_read_only_node_refreshes_and_logs_nobody_out(node, reading):
    identity, phone = node.identity, await node.phone().sign_in()
    replica = Sessions(
        reading,
        signing=identity.signing,
        proofs=Proofs(clock=node.clock.time),
        trust=identity.trust,
        now_ms=lambda: int(node.clock.time() * 1_000),
    )
    at_primary = identity.sessions
    for _ in range(3):
        before = phone.refresh_token
        identity.sessions = replica
        answer = await phone.refresh()
        assert (answer.status_code, answer.json()["refresh_token"]) == (200, before)
        assert await phone.is_signed_in()
        assert (await node.phone().refresh(before)).status_code == 400  # a thief, still
        identity.sessions = at_primary
        assert (await phone.refresh()).json()["refresh_token"] != before
    assert await phone.is_signed_in()
    assert "session.reuse" not in await node.audit()


# --- streams --------------------------------------------------------------------------------------


async def test_a_foreign_page_gets_no_stream(node):
    phone = await node.phone().sign_in()
    for origin in (b"https://evil.example", b"null", b"http://app.example.org", b""):
        socket = node.socket(phone.access, headers=[(b"origin", origin)])
        assert (await socket.first())["type"] == "websocket.close", origin
        await socket.end()
    good = node.socket(phone.access, headers=[(b"origin", b"https://app.example.org")])
    assert (await good.first())["type"] == "websocket.accept"
    await good.end()


async def test_a_stream_needs_one_good_token(node):
    phone = await node.phone().sign_in()
    offers = [(), (f"bearer.{phone.access}", f"bearer.{phone.access}"), ("bearer.nobody",)]
    for offered in offers:
        socket = node.socket(None, subprotocols=offered)
        assert (await socket.first())["type"] == "websocket.close", offered
        await socket.end()


async def test_a_stream_ends_with_its_token(node):
    socket = node.socket(node.operator_token(person="ada", lifetime_s=1))
    assert (await socket.first())["type"] == "websocket.accept"
    assert await socket.close_code() == 4401
    await socket.end()


async def test_a_stream_ends_with_its_session(node):
    phone, other = await node.phone().sign_in(), await node.phone().sign_in()
    ended, kept = node.socket(phone.access), node.socket(other.access)
    for socket in (ended, kept):
        assert (await socket.first())["type"] == "websocket.accept"
    assert (await phone.ask("POST", "/v1/me/sign-out")).status_code == 204
    assert await ended.close_code() == 4401
    assert kept.sent.empty()
    again = node.socket(phone.access)
    assert (await again.first())["type"] == "websocket.close"
    for socket in (ended, kept, again):
        await socket.end()


async def test_streams_of_a_disabled_account_end(node):
    phone = await node.phone().sign_in()
    socket = node.socket(phone.access)
    assert (await socket.first())["type"] == "websocket.accept"
    path = f"/v1/admin/accounts/{phone.person}"
    assert (await node.operate("PATCH", path, json={"state": "disabled"})).status_code == 200
    assert await socket.close_code() == 4401
    await socket.end()
