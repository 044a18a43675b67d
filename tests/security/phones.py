"""A phone with an Ed25519 key: it signs in, refreshes, adds an address, and loses answers."""

import os
import re
import time
from base64 import urlsafe_b64encode

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core.identity.proofs import signed_bytes

TENANT = "main"
PASSWORD = "correct horse battery"
_CODE = re.compile(r"^\s*([\d ]{8,9})\s*$", re.MULTILINE)


def text_of(content):
    """Return bytes as base64url without padding."""
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def bearer(token):
    return {"authorization": f"Bearer {token}"}


def code_in(mail):
    """Return the code that stands alone on a line of a mail; None when there is none."""
    found = _CODE.search(mail)
    return None if found is None else found[1].replace(" ", "")


class Phone:
    """One device; `client` speaks to a node, `now` is its clock in Unix seconds."""

    def __init__(self, client, *, now=time.time, tenant=TENANT):
        self.client, self.now, self.tenant = client, now, tenant
        self.key = Ed25519PrivateKey.generate()
        self.access = self.refresh_token = self.session = self.person = ""

    def proof(self, purpose, subject, *, age_s=0):
        at, nonce = int(self.now()) - age_s, text_of(os.urandom(16))
        message = signed_bytes(purpose, subject=subject, at_unix_s=at, nonce=nonce)
        return {"at": at, "nonce": nonce, "signature": text_of(self.key.sign(message))}

    def device(self, *, tenant=None):
        public = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        proof = self.proof("sign-in", tenant or self.tenant)
        return {"key": text_of(public), "name": "a phone", "proof": proof}

    @property
    def headers(self):
        return bearer(self.access)

    async def ask(self, method, path, **arguments):
        return await self.client.request(method, path, headers=self.headers, **arguments)

    async def enter(self, way, **fields):
        """Post to one way in; keep the tokens of a good answer."""
        body = {"device": self.device(), "tenant": self.tenant, **fields}
        answer = await self.client.post(f"/v1/auth/{way}", json=body)
        if answer.is_success:
            self.keep(answer.json())
        return answer

    def keep(self, told):
        self.access, self.refresh_token = told["access_token"], told["refresh_token"]
        self.session, self.person = told["session"], told["person"]

    async def sign_in(self):
        answer = await self.enter("anonymous")
        assert answer.status_code == 200, answer.text
        return self

    async def password(self, email, password=PASSWORD):
        return await self.enter("password", email=email, password=password)

    def refresh_body(self, token=None, *, purpose="refresh", age_s=0):
        token = self.refresh_token if token is None else token
        return {"refresh_token": token, "proof": self.proof(purpose, token, age_s=age_s)}

    async def refresh(self, token=None, *, is_answer_lost=False, **proof):
        """Refresh once; the answer of a lost refresh is returned, and not kept."""
        body = self.refresh_body(token, **proof)
        answer = await self.client.post("/v1/auth/refresh", json=body)
        if answer.is_success and not is_answer_lost:
            self.keep(answer.json())
        return answer

    async def is_signed_in(self):
        return (await self.ask("GET", "/v1/me")).status_code == 200

    async def register(self, node, email, password=PASSWORD):
        """Register an address with a password, reading the code from the node's mail."""
        begun = await self.client.post(
            "/v1/auth/register", json={"email": email, "password": password, "tenant": self.tenant}
        )
        assert begun.status_code == 202, begun.text
        code = code_in(await node.last_mail(email))
        answer = await self.enter("register/finish", flow=begun.json()["flow"], code=code)
        assert answer.status_code == 200, answer.text
        return self

    async def attach(self, node, email, password=PASSWORD):
        """Give the signed-in account an address with a password."""
        begun = await self.ask("POST", "/v1/me/email", json={"email": email, "password": password})
        assert begun.status_code == 202, begun.text
        body = {"flow": begun.json()["flow"], "code": code_in(await node.last_mail(email))}
        answer = await self.ask("POST", "/v1/me/email/finish", json=body)
        assert answer.status_code == 200, answer.text
        return self
