"""Ways in: pre-registered addresses, guessed codes, enumeration, spoofed addresses, step-up."""

import asyncio

import pytest
from argon2 import low_level

from tests.security.attacked import attacked_node
from tests.security.phones import PASSWORD, bearer, code_in

ADA = "ada@example.org"
NOBODY = "nobody@example.org"
THEIRS = "the attacker's choice"


@pytest.fixture
async def node(tmp_path):
    async with attacked_node(tmp_path, tenants=("main", "other")) as running:
        yield running


def told(answer):
    """Return what somebody learns from an answer: its status and all that is not an id or time."""
    body = answer.json()
    for name in ("instance", "flow", "expires_ms"):
        if name in body:
            body[name] = type(body[name]).__name__
    return answer.status_code, body


async def begin(node, way, email=ADA, **fields):
    answer = await node.client.post(f"/v1/auth/{way}", json={"email": email, **fields})
    assert answer.status_code == 202, answer.text
    return answer.json()["flow"]


async def begin_code(node, email=ADA):
    flow = await begin(node, "code", email)
    return flow, code_in(await node.last_mail(email))


def wrong(code):
    return f"{(int(code) + 1) % 10**8:08}"


# --- addresses registered in advance --------------------------------------------------------------


async def test_registering_somebody_elses_address_in_advance_gains_nothing(node):
    attacker, ada = node.phone(), node.phone()
    theirs = await begin(node, "register", password=THEIRS)
    flow, code = await begin_code(node)
    stolen = await attacker.enter("register/finish", flow=theirs, code=code)
    assert stolen.status_code == 400  # her code belongs to her flow
    assert (await ada.enter("code/finish", flow=flow, code=code)).status_code == 200
    assert (await attacker.password(ADA, THEIRS)).status_code == 400
    late = await begin(node, "register", password=THEIRS)
    for begun in (theirs, late):
        finished = await attacker.enter("register/finish", flow=begun, code=code)
        assert finished.status_code == 400
    profile = (await ada.ask("GET", "/v1/me")).json()
    assert [way["kind"] for way in profile["credentials"]] == ["email"]


async def test_the_code_of_a_strangers_registration_makes_no_account_beside_hers(node):
    """Even who reads that one code finds the address taken, and its password counts for nothing."""
    attacker, ada = node.phone(), node.phone()
    theirs = await begin(node, "register", password=THEIRS)
    their_code = code_in(await node.last_mail(ADA))
    flow, code = await begin_code(node)
    mixed_up = await ada.enter("code/finish", flow=flow, code=their_code)
    assert mixed_up.status_code == 400  # she takes the wrong mail: her flow is not theirs
    assert (await ada.enter("code/finish", flow=flow, code=code)).status_code == 200
    late = await attacker.enter("register/finish", flow=theirs, code=their_code)
    assert late.status_code == 400
    assert (await attacker.password(ADA, THEIRS)).status_code == 400


async def test_an_address_attached_in_advance_gains_nothing(node):
    attacker, ada = await node.phone().sign_in(), node.phone()
    body = {"email": ADA, "password": THEIRS}
    begun = await attacker.ask("POST", "/v1/me/email", json=body)
    await ada.register(node, ADA)
    codes = [code_in(mail) for mail in await node.mails(ADA)]
    assert len([code for code in codes if code]) == 2
    finish = {"flow": begun.json()["flow"], "code": codes[1]}
    assert (await attacker.ask("POST", "/v1/me/email/finish", json=finish)).status_code == 400
    late = {**finish, "code": codes[0]}
    assert (await attacker.ask("POST", "/v1/me/email/finish", json=late)).status_code == 409
    assert (await attacker.password(ADA, THEIRS)).status_code == 400
    assert (await ada.password(ADA)).status_code == 200


# --- what answers tell ----------------------------------------------------------------------------


async def test_nobody_learns_which_addresses_have_accounts(node):
    await node.phone().register(node, ADA)
    for way, fields in (("register", {"password": THEIRS}), ("code", {}), ("reset", {})):
        answers = [
            await node.client.post(f"/v1/auth/{way}", json={"email": email, **fields})
            for email in (ADA, NOBODY)
        ]
        assert told(answers[0]) == told(answers[1]) == (202, told(answers[0])[1])
        if way == "register":
            owner, stranger = await node.last_mail(ADA), await node.last_mail(NOBODY)
            assert "has an account already" in " ".join(owner.split())
            assert code_in(owner) is None
            assert code_in(stranger) is not None
    assert len(await node.mails(NOBODY)) == 2  # nothing to reset: no mail, the same answer


async def test_a_taken_address_is_not_told_to_the_signed_in_either(node):
    await node.phone().register(node, ADA)
    eve = await node.phone().sign_in()
    answers = [
        await eve.ask("POST", "/v1/me/email", json={"email": email, "password": THEIRS})
        for email in (ADA, NOBODY)
    ]
    assert told(answers[0]) == told(answers[1])
    assert answers[0].status_code == 202


async def test_a_wrong_address_and_a_wrong_password_look_and_cost_the_same(node, monkeypatch):
    ada = await node.phone().register(node, ADA)
    begun, code = await begin_code(node, "coded@example.org")
    await node.phone().enter("code/finish", flow=begun, code=code)  # an address without a password
    computed, verify = [], low_level.verify_secret

    def spy(*arguments):
        computed.append(arguments[2])
        return verify(*arguments)

    monkeypatch.setattr(low_level, "verify_secret", spy)
    heard, costs = [], []
    for email in (ADA, NOBODY, "coded@example.org"):
        computed.clear()
        heard.append(told(await node.phone().password(email, "wrong password")))
        costs.append(len(computed))
    assert heard[0] == heard[1] == heard[2]
    assert heard[0][0] == 400
    assert costs == [1, 1, 1]
    assert (await ada.password(ADA)).status_code == 200


# --- codes and flows ------------------------------------------------------------------------------


async def test_a_code_is_guessed_five_times_and_then_worth_nothing(node):
    flow, code = await begin_code(node)
    for _ in range(5):
        guess = await node.phone().enter("code/finish", flow=flow, code=wrong(code))
        assert guess.status_code == 400
    right = await node.phone().enter("code/finish", flow=flow, code=code)
    assert told(right) == told(guess)


async def test_parallel_guesses_do_not_get_more_tries(node):
    flow, code = await begin_code(node)
    guesses = [wrong(code)] * 8
    await asyncio.gather(*(node.phone().enter("code/finish", flow=flow, code=g) for g in guesses))
    assert (await node.phone().enter("code/finish", flow=flow, code=code)).status_code == 400


async def test_a_code_is_used_once_however_many_race(node):
    flow, code = await begin_code(node)
    race = [node.phone().enter("code/finish", flow=flow, code=code) for _ in range(5)]
    statuses = sorted([answer.status_code for answer in await asyncio.gather(*race)])
    assert statuses == [200, 400, 400, 400, 400]
    assert (await node.phone().enter("code/finish", flow=flow, code=code)).status_code == 400


async def test_a_code_ends(node):
    flow, code = await begin_code(node)
    node.clock.ahead_s = 601
    assert (await node.phone().enter("code/finish", flow=flow, code=code)).status_code == 400


async def test_a_flow_is_finished_for_its_own_purpose_and_tenant(node):
    phone = node.phone()
    flow, code = await begin_code(node)
    named = {"flow": flow, "code": code}
    assert (await phone.enter("register/finish", **named)).status_code == 400
    reset = await phone.enter("reset/finish", password=THEIRS, **named)
    assert reset.status_code == 400
    elsewhere = node.phone(tenant="other")
    assert (await elsewhere.enter("code/finish", **named)).status_code == 400
    signed_in = await node.phone().sign_in()
    assert (await signed_in.ask("POST", "/v1/me/email/finish", json=named)).status_code == 400
    assert (await signed_in.ask("POST", "/v1/me/step-up", json=named)).status_code == 400
    assert (await phone.enter("code/finish", **named)).status_code == 200


async def test_a_flow_is_finished_by_who_has_begun_it(node):
    ada, eve = await node.phone().sign_in(), await node.phone().sign_in()
    begun = await ada.ask("POST", "/v1/me/email", json={"email": ADA, "password": PASSWORD})
    body = {"flow": begun.json()["flow"], "code": code_in(await node.last_mail(ADA))}
    assert (await eve.ask("POST", "/v1/me/email/finish", json=body)).status_code == 400
    profile = (await eve.ask("GET", "/v1/me")).json()
    assert (profile["kind"], profile["credentials"]) == ("anonymous", [])


async def test_one_address_is_two_people_in_two_tenants(node):
    ada = await node.phone().register(node, ADA)
    other = node.phone(tenant="other")
    assert (await other.password(ADA)).status_code == 400
    await other.register(node, ADA, THEIRS)
    assert other.person != ada.person
    assert (await node.phone().password(ADA, THEIRS)).status_code == 400
    assert (await node.phone(tenant="nowhere").password(ADA)).status_code == 404


async def test_ways_that_are_not_configured_are_refused_politely(node):
    phone = await node.phone().sign_in()
    flow, _ = await begin_code(node)
    for way in ("oidc/begin", "passkey/begin"):
        answer = await node.client.post(f"/v1/auth/{way}", json={})
        assert (way, answer.status_code) == (way, 400)
        assert (await phone.ask("POST", f"/v1/me/{_own(way)}")).status_code == 400
    credential = {"id": "x", "type": "public-key", "response": {}}
    for way, fields in (("oidc", {"id_token": "a.b.c"}), ("passkey", {"credential": credential})):
        body = {"flow": flow, **fields}
        assert (await node.phone().enter(way, **body)).status_code == 400
        assert (await phone.ask("POST", f"/v1/me/{_own(way)}", json=body)).status_code == 400
    step_up = {"flow": flow, "credential": credential}
    assert (await phone.ask("POST", "/v1/me/step-up", json=step_up)).status_code == 400
    by_passkey = {"method": "passkey"}
    assert (await phone.ask("POST", "/v1/me/step-up/begin", json=by_passkey)).status_code == 400


def _own(way):
    return way.replace("passkey", "passkeys")


# --- limits ---------------------------------------------------------------------------------------

SPOOFED = ("x-forwarded-for", "forwarded", "x-real-ip", "fly-client-ip", "x-skerry-client")


async def guess(node, number, **headers):
    """Sign in wrongly to an account of its own, so that only addresses are counted together."""
    body = {"device": node.phone().device(), "email": f"p{number}@example.org", "password": "wrong"}
    return await node.client.post("/v1/auth/password", json=body, headers=headers)


async def test_headers_do_not_change_who_is_limited(tmp_path):
    async with attacked_node(tmp_path, limits="login.address=3/1m") as node:
        for number in range(3):
            assert (await guess(node, number)).status_code == 400
        for number, name in enumerate(SPOOFED):
            value = f"for=10.0.0.{number}" if name == "forwarded" else f"10.0.0.{number}"
            answer = await guess(node, 10 + number, **{name: value})
            assert (name, answer.status_code) == (name, 429)
            told = answer.json()
            assert told["fault"] == "rate-limited"
            assert 0 < told["retry_after_ms"] <= 20_000
            assert int(answer.headers["retry-after"]) * 1_000 >= told["retry_after_ms"]


async def test_the_header_of_a_trusted_proxy_says_who_is_limited(tmp_path):
    settings = {"limits": "login.address=3/1m", "address_header": "fly-client-ip"}
    async with attacked_node(tmp_path, **settings) as node:
        for number in range(9):
            answer = await guess(node, number, **{"fly-client-ip": f"10.0.0.{number % 3}"})
            assert answer.status_code == 400
        others = {"x-forwarded-for": "10.0.9.9", "x-skerry-client": "10.0.9.9"}
        for headers in ({}, others):
            answer = await guess(node, 20, **{"fly-client-ip": "10.0.0.1", **headers})
            assert answer.status_code == 429
        one_network = [f"2001:db8:1:1::{number}" for number in range(4)]
        answers = [await guess(node, 30, **{"fly-client-ip": place}) for place in one_network]
        assert [answer.status_code for answer in answers] == [400, 400, 400, 429]


async def test_as_many_logins_as_allowed_and_no_more(tmp_path):
    limits = "login.account=3/1m,login.address=off"
    async with attacked_node(tmp_path, limits=limits) as node:
        ada = await node.phone().register(node, ADA)
        answers = [
            await node.phone().password(email, "wrong") for email in (ADA, " ADA@example.ORG")
        ]
        answers += [await node.phone().password(ADA, "wrong") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [400, 400, 400, 429, 429]
        assert 0 < answers[-1].json()["retry_after_ms"] <= 20_000
        assert (await node.phone().password(NOBODY, "wrong")).status_code == 400
        assert await ada.is_signed_in()  # who is signed in does not suffer
        assert (await ada.refresh()).status_code == 200


# --- step-up --------------------------------------------------------------------------------------


async def test_deleting_an_account_needs_a_fresh_proof(node):
    ada = await node.phone().register(node, ADA)
    node.clock.ahead_s = 301
    for _ in range(2):
        refused = await ada.ask("DELETE", "/v1/me")
        assert (refused.status_code, refused.json()["fault"]) == (403, "step-up-needed")
        assert (await ada.refresh()).status_code == 200  # refreshing proves nothing about her
    wrong_one = await ada.ask("POST", "/v1/me/step-up", json={"password": "wrong"})
    assert wrong_one.status_code == 400
    proved = await ada.ask("POST", "/v1/me/step-up", json={"password": PASSWORD})
    assert proved.status_code == 200
    access = proved.json()["access_token"]
    assert (await node.client.delete("/v1/me", headers=bearer(access))).status_code == 204
    assert (await node.client.get("/v1/me", headers=bearer(access))).status_code == 401


async def test_nobody_steps_up_with_somebody_elses_code(node):
    ada = await node.phone().register(node, ADA)
    eve = await node.phone().register(node, "eve@example.org")
    begun = await ada.ask("POST", "/v1/me/step-up/begin", json={"method": "email"})
    body = {"flow": begun.json()["flow"], "code": code_in(await node.last_mail(ADA))}
    assert (await eve.ask("POST", "/v1/me/step-up", json=body)).status_code == 400


async def test_a_session_that_began_anonymously_needs_a_fresh_proof_once_it_has_a_name(node):
    ada = await (await node.phone().sign_in()).attach(node, ADA)
    node.clock.ahead_s = 3_600
    assert (await ada.refresh()).status_code == 200
    refused = await ada.ask("DELETE", "/v1/me")
    assert (refused.status_code, refused.json().get("fault")) == (403, "step-up-needed")


# --- accounts that are closed ---------------------------------------------------------------------


async def test_a_disabled_account_is_closed_at_once_on_every_way(node):
    ada = await node.phone().register(node, ADA)
    flow, code = await begin_code(node)
    path = f"/v1/admin/accounts/{ada.person}"
    assert (await node.operate("PATCH", path, json={"state": "disabled"})).status_code == 200
    assert not await ada.is_signed_in()
    assert (await ada.refresh()).status_code == 400
    assert (await ada.password(ADA)).status_code == 400
    assert (await ada.enter("code/finish", flow=flow, code=code)).status_code == 400
    begun = await begin(node, "reset")
    fields = {"flow": begun, "code": code_in(await node.last_mail(ADA)), "password": THEIRS}
    assert (await ada.enter("reset/finish", **fields)).status_code == 400
    assert (await node.operate("PATCH", path, json={"state": "active"})).status_code == 200
    assert (await ada.refresh()).status_code == 400  # what has ended stays ended
    assert (await ada.password(ADA)).status_code == 200


async def test_who_registers_an_erased_address_is_somebody_new(node):
    ada = await node.phone().register(node, ADA)
    flow, code = await begin_code(node)
    assert (await ada.ask("DELETE", "/v1/me")).status_code == 204
    assert not await ada.is_signed_in()
    assert (await ada.refresh()).status_code == 400
    assert (await node.phone().password(ADA)).status_code == 400
    later = await node.phone().register(node, ADA, THEIRS)
    assert later.person != ada.person
    assert (await node.phone().password(ADA)).status_code == 400
    assert (await node.phone().password(ADA, THEIRS)).status_code == 200
    stale = node.phone()
    if (await stale.enter("code/finish", flow=flow, code=code)).status_code == 200:
        assert stale.person == later.person
    assert not await ada.is_signed_in()
