"""An in-memory identity server: core's rules for refresh tokens and proofs, and a few accounts."""

import asyncio
import hashlib
import itertools
import os
from base64 import urlsafe_b64decode
from dataclasses import replace

import httpx
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from core.identity.proofs import Proof, device_id, is_timely, signed_bytes
from core.identity.sessions import (
    RefreshAnswer,
    RefreshToken,
    Session,
    SessionState,
    hash_secret,
    judge_refresh,
    next_secret,
)
from core.ids import TenantId

CODE = "123456"


class Refusal(Exception):
    def __init__(self, status, fault, **members):
        super().__init__(fault)
        self.response = problem(status, fault, **members)


def problem(status, fault, **members):
    document = {"fault": fault, "detail": f"it is {fault}", "status": status, **members}
    headers = {"content-type": "application/problem+json"}
    return httpx.Response(status, json=document, headers=headers)


def decoded(text):
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


class IdentityServer:
    def __init__(self):
        self.now_s = 1_800_000_000
        self.expires_in = 600
        self.people = {}
        """Person to [kind, email, password]."""
        self.sessions = {}
        self.keys = {}
        self.tokens = {}
        """Access token to (session, whether it is fresh)."""
        self.flows = {}
        self.nonces = set()
        self.refused_tokens = set()
        self.asked = []
        """Paths, in the order of the requests."""
        self.presented = []
        """Generations of the refresh tokens presented."""
        self.instead = lambda _request: None
        """What to answer before the server sees the request."""
        self.lose = lambda _request: False
        """Whether the answer of a request that was carried out gets lost."""
        self.names = itertools.count(1)

    @property
    def transport(self):
        return httpx.MockTransport(self.handle)

    async def handle(self, request):
        path = request.url.path
        self.asked.append(path)
        await asyncio.sleep(0)  # as a network does, let others go on
        instead = self.instead(request)
        if instead is not None:
            return instead
        body = msgspec.json.decode(request.content) if request.content else {}
        try:
            answer = self.answer(request, path, body)
        except Refusal as refusal:
            answer = refusal.response
        if self.lose(request):
            raise httpx.ReadError("lost")
        return answer

    def answer(self, request, path, body):
        if path == "/v1/auth/refresh":
            return self.refresh(body)
        if path.startswith("/v1/auth/"):
            return self.enter(path.removeprefix("/v1/auth/"), body)
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        session, is_fresh = self.tokens.get(token, ("", False))
        if not session or token in self.refused_tokens:
            raise Refusal(401, "unauthenticated")
        return self.own(request.method, path.removeprefix("/v1/me"), body, session, is_fresh)

    def enter(self, way, body):
        assert body.pop("tenant") == "main"
        device = body.pop("device", None)
        if way in ("register", "code", "reset"):
            assert device is None
            return self.begun(way, **body)
        if way == "oidc/begin":
            flow = self.begun(way).json()["flow"]
            return httpx.Response(200, json={"flow": flow, "expires_ms": 1, "nonce": "n" * 22})
        public = decoded(device["key"])
        self.check(public, device["proof"], "sign-in", "main")
        if way == "anonymous":
            return self.open(self.new_person("anonymous"), public)
        if way == "oidc":
            assert body["id_token"] == "signed"
            return self.open(self.new_person("named"), public)
        if way == "password":
            for person, (_, email, password) in self.people.items():
                if password and (email, password) == (body["email"], body["password"]):
                    return self.open(person, public)
            raise Refusal(400, "invalid-grant")
        begun = self.finished(way.removesuffix("/finish"), body)
        known = [p for p, (_, email, _) in self.people.items() if email == begun["email"]]
        person = known[0] if known else self.new_person("named", begun["email"])
        password = body.get("password") or begun.get("password")
        if password:
            self.people[person][2] = password
        return self.open(person, public)

    def own(self, method, path, body, session_id, is_fresh):
        session = self.sessions[session_id]
        person = session.person
        if (method, path) in {("POST", "/email"), ("DELETE", "")} and not is_fresh:
            raise Refusal(403, "step-up-needed")
        if (method, path) == ("POST", "/email"):
            return self.begun("email", **body)
        if path == "/email/finish":
            begun = self.finished("email", body)
            self.people[person] = ["named", begun["email"], begun["password"]]
            return httpx.Response(200, json={"person": person, "kind": "named"})
        if path == "/step-up":
            if body["password"] != self.people[person][2]:
                raise Refusal(400, "invalid-grant")
            token = self.access(session_id, is_fresh=True)
            return httpx.Response(200, json={"access_token": token, "expires_in": self.expires_in})
        if (method, path) == ("GET", "/sessions"):
            shown = [
                {
                    "id": s.id, "device": s.device, "device_name": "", "created_ms": 1,
                    "refreshed_ms": 1, "expires_ms": 2, "methods": ["password"],
                    "is_current": s.id == session_id,
                }
                for s in self.sessions.values()
                if s.person == person and s.state is SessionState.ACTIVE
            ]  # fmt: skip
            return httpx.Response(200, json={"sessions": shown})
        if method == "DELETE" and path.startswith("/sessions/"):
            self.end(path.removeprefix("/sessions/"))
        elif path == "/sign-out":
            self.end(session_id)
        elif (method, path) == ("DELETE", ""):
            del self.people[person]
            self.end(session_id)
        return httpx.Response(204)

    def refresh(self, body):
        token = RefreshToken.parse(body["refresh_token"])
        session = None if token is None else self.sessions.get(token.session)
        if token is None or session is None:
            raise Refusal(400, "invalid-grant")
        self.presented.append(token.generation)
        self.check(self.keys[session.device], body["proof"], "refresh", body["refresh_token"])
        answer = judge_refresh(session, token, now_ms=self.now_s * 1_000)
        if answer is RefreshAnswer.ROTATE:
            salt = os.urandom(16)
            secret = next_secret(token.secret, salt)
            session = self.sessions[session.id] = replace(
                session, generation=session.generation + 1, current=hash_secret(secret),
                previous=session.current, salt=salt,
            )  # fmt: skip
            return self.signed_in(session, secret)
        if answer is RefreshAnswer.REPEAT:
            return self.signed_in(session, next_secret(token.secret, session.salt))
        if answer is RefreshAnswer.REUSE:
            self.end(session.id)
        raise Refusal(400, "invalid-grant")

    def check(self, public, body, purpose, subject):
        proof = Proof(body["at"], body["nonce"], decoded(body["signature"]))
        message = signed_bytes(
            purpose, subject=subject, at_unix_s=proof.at_unix_s, nonce=proof.nonce
        )
        Ed25519PublicKey.from_public_bytes(public).verify(proof.signature, message)
        if not is_timely(proof, now_unix_s=self.now_s):
            raise Refusal(400, "clock-apart", now_unix_s=self.now_s)
        assert proof.nonce not in self.nonces, "a proof was used twice"
        self.nonces.add(proof.nonce)

    def open(self, person, public):
        secret = os.urandom(32)
        device = device_id(public)
        self.keys[device] = public
        session = Session(
            TenantId("main"), f"session-{next(self.names)}", person, device, SessionState.ACTIVE, 0,
            hash_secret(secret), b"", b"", 0, 0, 2**60, 0, ("password",),
        )  # fmt: skip
        self.sessions[session.id] = session
        return self.signed_in(session, secret, is_fresh=True)

    def signed_in(self, session, secret, *, is_fresh=False):
        token = RefreshToken(session.tenant, session.id, session.generation, secret)
        return httpx.Response(
            200,
            json={
                "access_token": self.access(session.id, is_fresh=is_fresh),
                "expires_in": self.expires_in, "refresh_token": token.text(),
                "session": session.id, "generation": session.generation, "tenant": "main",
                "person": session.person, "kind": self.people[session.person][0],
                "token_type": "Bearer",
            },
        )  # fmt: skip

    def access(self, session, *, is_fresh):
        token = f"access-{next(self.names)}-" + hashlib.sha256(session.encode()).hexdigest()
        self.tokens[token] = (session, is_fresh)
        return token

    def begun(self, purpose, **body):
        flow = f"flow-{next(self.names)}"
        self.flows[flow] = {"purpose": purpose, **body}
        return httpx.Response(202, json={"flow": flow, "expires_ms": 1})

    def finished(self, purpose, body):
        begun = self.flows.get(body["flow"])
        if begun is None or begun["purpose"] != purpose or body["code"] != CODE:
            raise Refusal(400, "invalid-grant")
        return self.flows.pop(body["flow"])

    def new_person(self, kind, email=""):
        person = f"person-{next(self.names)}"
        self.people[person] = [kind, email, ""]
        return person

    def end(self, session):
        self.sessions[session] = replace(self.sessions[session], state=SessionState.ENDED)

    @property
    def refreshes(self):
        return self.asked.count("/v1/auth/refresh")
