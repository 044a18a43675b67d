"""Every way in, through HTTP, against a real issuer, a real mail server and a software passkey."""

import asyncio
import json
import zipfile
from io import BytesIO

from tests.edge.gateways.authenticator import SoftAuthenticator
from tests.edge.gateways.issuer_server import IssuerServer
from tests.edge.gateways.smtp_server import SmtpServer
from tests.security.attacked import attacked_node
from tests.security.phones import bearer, code_in

DOMAIN, ORIGIN = "app.example.org", "https://app.example.org"


async def arrived(server, count):
    async with asyncio.timeout(5):
        while len(server.mails) < count:  # noqa: ASYNC110  (the server has no event for it)
            await asyncio.sleep(0.01)
    return server.mails[count - 1]


async def test_an_id_token_signs_in_once_and_the_same_person_again(tmp_path):
    with IssuerServer() as issuer:
        setting = f"{issuer.url}={issuer.issuer.audiences[0]}"
        async with attacked_node(tmp_path, issuers=setting) as node:
            people = []
            for _ in range(2):
                phone = node.phone()
                begun = (await node.client.post("/v1/auth/oidc/begin", json={})).json()
                token = issuer.token(nonce=begun["nonce"], sub="apple-7")
                answer = await phone.enter("oidc", flow=begun["flow"], id_token=token)
                assert answer.status_code == 200, answer.text
                assert answer.json()["kind"] == "named"
                people.append(phone.person)
                replayed = await phone.enter("oidc", flow=begun["flow"], id_token=token)
                assert replayed.status_code == 400
                other = (await node.client.post("/v1/auth/oidc/begin", json={})).json()
                reused = await phone.enter("oidc", flow=other["flow"], id_token=token)
                assert reused.status_code == 400, "the nonce is another flow's"
            assert people[0] == people[1]


async def test_a_name_of_any_length_signs_in(tmp_path):
    with IssuerServer() as issuer:
        setting = f"{issuer.url}={issuer.issuer.audiences[0]}"
        async with attacked_node(tmp_path, issuers=setting) as node:
            begun = (await node.client.post("/v1/auth/oidc/begin", json={})).json()
            token = issuer.token(nonce=begun["nonce"], name="N" * 150)
            phone = node.phone()
            answer = await phone.enter("oidc", flow=begun["flow"], id_token=token)
            assert answer.status_code == 200, answer.text
            assert (await phone.ask("GET", "/v1/me")).json()["name"] == "N" * 80


async def test_an_anonymous_person_links_an_issuer_and_stays_the_same(tmp_path):
    with IssuerServer() as issuer:
        setting = f"{issuer.url}={issuer.issuer.audiences[0]}"
        async with attacked_node(tmp_path, issuers=setting) as node:
            phone = await node.phone().sign_in()
            begun = (await phone.ask("POST", "/v1/me/oidc/begin")).json()
            body = {"flow": begun["flow"], "id_token": issuer.token(nonce=begun["nonce"])}
            linked = await phone.ask("POST", "/v1/me/oidc", json=body)
            assert linked.status_code == 200, linked.text
            assert linked.json()["kind"] == "named"
            assert linked.json()["person"] == phone.person
            elsewhere = node.phone()
            begun = (await node.client.post("/v1/auth/oidc/begin", json={})).json()
            token = issuer.token(nonce=begun["nonce"])
            await elsewhere.enter("oidc", flow=begun["flow"], id_token=token)
            assert elsewhere.person == phone.person


async def test_a_passkey_is_added_signs_in_and_steps_up(tmp_path):
    async with attacked_node(tmp_path, passkey_domain=DOMAIN, origins=(ORIGIN,)) as node:
        key = SoftAuthenticator(DOMAIN, ORIGIN)
        phone = await node.phone().sign_in()
        begun = (await phone.ask("POST", "/v1/me/passkeys/begin")).json()
        body = {"flow": begun["flow"], "credential": key.create(begun["options"]), "label": "blue"}
        added = await phone.ask("POST", "/v1/me/passkeys", json=body)
        assert added.status_code == 200, added.text
        assert [way["kind"] for way in added.json()["credentials"]] == ["passkey"]

        other = node.phone()
        begun = (await node.client.post("/v1/auth/passkey/begin", json={})).json()
        signed = key.get(begun["options"])
        answer = await other.enter("passkey", flow=begun["flow"], credential=signed)
        assert answer.status_code == 200, answer.text
        assert other.person == phone.person
        again = await node.phone().enter("passkey", flow=begun["flow"], credential=signed)
        assert again.status_code == 400, "a challenge is good once"

        node.clock.ahead_s = 400
        await other.refresh()
        refused = await other.ask("DELETE", "/v1/me")
        assert refused.json()["fault"] == "step-up-needed"
        begun = (await other.ask("POST", "/v1/me/step-up/begin", json={"method": "passkey"})).json()
        body = {"flow": begun["flow"], "credential": key.get(begun["options"])}
        proved = await other.ask("POST", "/v1/me/step-up", json=body)
        assert proved.status_code == 200, proved.text
        fresh = bearer(proved.json()["access_token"])
        assert (await node.client.delete("/v1/me", headers=fresh)).status_code == 204


async def test_codes_and_letters_go_through_a_real_mail_server(tmp_path):
    with SmtpServer() as server:
        async with attacked_node(tmp_path, mail=server.url) as node:
            phone = node.phone()
            asked = await node.client.post("/v1/auth/code", json={"email": "Ada@Example.org"})
            mail = await arrived(server, 1)
            assert mail["To"] == "ada@example.org"
            code = code_in(mail.get_content())
            answer = await phone.enter("code/finish", flow=asked.json()["flow"], code=code)
            assert answer.status_code == 200, answer.text
            reset = await node.client.post("/v1/auth/reset", json={"email": "ada@example.org"})
            code = code_in((await arrived(server, 2)).get_content())
            other = node.phone()
            answer = await other.enter(
                "reset/finish", flow=reset.json()["flow"], code=code, password="battery horse 9"
            )
            assert answer.status_code == 200, answer.text
            assert other.person == phone.person
            assert not await phone.is_signed_in(), "a reset ends every other session"
            assert (await node.phone().password("ada@example.org", "battery horse 9")).is_success


async def test_a_service_token_is_exchanged_and_revoked(tmp_path):
    async with attacked_node(tmp_path) as node:
        made = await node.operate(
            "POST", "/v1/admin/service-tokens", json={"name": "billing", "scopes": ["admin"]}
        )
        assert made.status_code == 201, made.text
        body = {"token": made.json()["token"]}
        exchanged = await node.client.post("/v1/auth/service", json=body)
        headers = bearer(exchanged.json()["access_token"])
        assert (await node.client.get("/v1/admin/accounts", headers=headers)).status_code == 200
        gone = await node.operate("DELETE", f"/v1/admin/service-tokens/{made.json()['id']}")
        assert gone.status_code == 204
        assert (await node.client.get("/v1/admin/accounts", headers=headers)).status_code == 401
        again = await node.client.post("/v1/auth/service", json=body)
        assert again.json()["fault"] == "invalid-grant"


async def test_a_tenant_is_made_used_suspended_exported_and_erased_while_the_node_runs(tmp_path):
    async with attacked_node(tmp_path) as node:
        made = await node.operate(
            "POST", "/v1/operator/tenants", json={"tenant": "north", "regions": ["fra"]}
        )
        assert made.status_code == 201, made.text
        phone = await node.phone(tenant="north").sign_in()
        assert (await phone.ask("GET", "/v1/spaces")).status_code == 200
        suspend = await node.operate(
            "PATCH", "/v1/operator/tenants/north", json={"state": "suspended"}
        )
        assert suspend.json()["state"] == "suspended"
        assert (await phone.ask("GET", "/v1/spaces")).status_code == 403
        assert (await phone.refresh()).status_code == 403
        await node.operate("PATCH", "/v1/operator/tenants/north", json={"state": "active"})
        assert (await phone.refresh()).status_code == 200
        exported = await node.operate("GET", "/v1/operator/tenants/north/export")
        with zipfile.ZipFile(BytesIO(exported.content)) as archive:
            accounts = archive.read("accounts.ndjson").decode().splitlines()
            assert json.loads(archive.read("manifest.json"))["tenant"] == "north"
        assert [json.loads(line)["person"] for line in accounts] == [phone.person]
        gone = await node.operate("DELETE", "/v1/operator/tenants/north")
        assert gone.status_code == 204, gone.text
        assert (await phone.ask("GET", "/v1/spaces")).status_code in (401, 404)
        assert (await phone.refresh()).status_code == 400
        assert not list((node.settings.data / "tenants").glob("north*"))
        taken = await node.operate("POST", "/v1/operator/tenants", json={"tenant": "north"})
        assert taken.status_code == 409


async def test_closing_the_doors_of_a_tenant_keeps_those_who_are_in(tmp_path):
    async with attacked_node(tmp_path) as node:
        phone = await node.phone().sign_in()
        closed = {"anonymous": False, "registration": False}
        answer = await node.operate("PATCH", "/v1/admin/tenant", json=closed)
        assert answer.status_code == 200, answer.text
        assert (await node.phone().enter("anonymous")).status_code == 403
        assert (await phone.refresh()).status_code == 200
