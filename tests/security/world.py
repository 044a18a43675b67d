"""A node in this process with two tenants, each with people, spaces, rows, devices and services.

The node runs on an event loop in a thread of its own, so that tests ask it without being
coroutines: `with World(tmp_path) as world: world.ask("GET", "/v1/me", token=world.ada.token)`.
Everything that tenant B keeps is made from STEM, so that a leak can be seen.
"""

import asyncio
import os
import re
import threading
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core import Access, App, Collection, Lww, MultiValue
from core.identity.proofs import signed_bytes
from core.ids import PersonId, TenantId
from edge.app import build_application
from edge.identity_wiring import prepare_limits
from edge.services.limits import Dimension, LimitKind
from edge.services.tokens import AUDIENCE, TOKEN_TYPE, mint
from edge.settings import Settings
from edge.storage.key_files import KeyFiles
from sync_protocol.transport import STREAM_PATH

STEM = "zqcanary"
TENANT_A, TENANT_B = TenantId("main"), TenantId("other")
ANSWER_SECONDS_MAX = 30
QUIET_SECONDS_MAX = 10
"""How long a stream may take to answer a frame."""
ENDS = ("websocket.close", "websocket.http.response.body")
SAID = ("websocket.accept", "websocket.send")
"""After each of these the next frame is sent; the last frame's answer is waited for."""
DEVICES_APART = 60
"""Devices are numbered per tenant: this many more keep the numbers of B apart from those of A."""
NO_LIMITS = ",".join(f"{kind}.{dimension}=off" for kind in LimitKind for dimension in Dimension)
EVERYBODY = ("manager", "member")
_numbers = count(1)


class Site(Collection, space="region"):
    """A place, with a register that can lose a write and one that keeps all of them."""

    access = Access(
        read=EVERYBODY, insert=EVERYBODY, edit=EVERYBODY, delete=EVERYBODY, restore=EVERYBODY
    )
    title = Lww(str)
    remarks = MultiValue(str)


app = App(
    "survey",
    version=1,
    spaces={"region": EVERYBODY},
    founders={"region": "manager"},
    managers={"region": ("manager",)},
)
app.add(Site)


def _text(value):
    return urlsafe_b64encode(value).rstrip(b"=").decode()


class Device:
    """A phone's key, and the proofs that it makes."""

    def __init__(self, name):
        self.name = name
        self._key = Ed25519PrivateKey.generate()

    def proof(self, purpose, subject):
        at, nonce = int(time.time()), _text(os.urandom(16))
        content = signed_bytes(purpose, subject=subject, at_unix_s=at, nonce=nonce)
        return {"at": at, "nonce": nonce, "signature": _text(self._key.sign(content))}

    def body(self, tenant):
        public = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return {"key": _text(public), "name": self.name, "proof": self.proof("sign-in", tenant)}


@dataclass
class Someone:
    """An account that is signed in, and the ids of everything it has, by what they name."""

    tenant: str
    token: str
    refresh: str
    device: Device
    ids: dict[str, Any] = field(default_factory=dict)


class World:
    """A node with the tenants A (ada, ben, an anonymous stranger, an administrator) and B (zoe)."""

    def __init__(self, folder):
        self.settings = Settings(
            data=folder, tenants=(TENANT_A, TENANT_B), limits=NO_LIMITS, synchronous="normal"
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self):
        self._thread.start()
        prepare_limits(self.settings)
        self.gate = build_application(app, self.settings, secret=os.urandom(32))
        self.key = KeyFiles(self.settings.keys_folder).development_key()
        self._run(self._open())
        self.operator = self.minted(TENANT_A, "operator", is_admin=True, is_operator=True)
        self.root_a = self.minted(TENANT_A, "root", is_admin=True)
        self.root_b = self.minted(TENANT_B, "root", is_admin=True)
        self.stranger = self.sign_in(TENANT_A, "stranger phone")
        self.admin = self._administrator(TENANT_A, "admin", self.root_a)
        self.admin_b = self._administrator(TENANT_B, f"{STEM}-admin", self.root_b)
        self.ada = self._settled(TENANT_A, "ada", self.root_a)
        self.ben = self._settled(TENANT_A, "ben", self.root_a)
        apart = self.sign_in(TENANT_B, f"{STEM}-apart")
        for _ in range(DEVICES_APART):
            self.hello(apart)
        self.zoe = self._settled(TENANT_B, STEM, self.root_b)
        for admin, owner in ((self.admin, self.ada), (self.admin_b, self.zoe)):
            admin.ids = {**owner.ids, "session": admin.ids["session"], "self": admin.ids["person"]}
        kid = self.ask("GET", "/.well-known/jwks.json").json()["keys"][0]["kid"]
        for someone in (self.stranger, self.admin, self.admin_b, self.ada, self.ben, self.zoe):
            someone.ids["kid"] = kid
        return self

    def __exit__(self, *error):
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(ANSWER_SECONDS_MAX)
        self._loop.close()

    # --- asking ------------------------------------------------------------------------------

    def ask(self, method, path, *, token=None, headers=None, **body):
        """Send one request and return the response, whatever its status."""
        sent = dict(headers or {})
        if token is not None:
            sent["authorization"] = f"Bearer {token}"
        return self._run(self._client.request(method, path, headers=sent, **body))

    def good(self, method, path, **request) -> Any:
        """Ask, and insist on success; return the JSON of the answer."""
        answer = self.ask(method, path, **request)
        assert answer.is_success, (method, path, answer.status_code, answer.text)
        return answer.json() if answer.content else None

    def stream(self, token, *frames):
        """Open a stream; return the status of a refusal (0: none) and the text of every event."""
        return self._run(self._stream(token, frames))

    # --- tokens ------------------------------------------------------------------------------

    def minted(self, tenant, person, *, lifetime_s=3_600, **scopes):
        now = int(time.time())
        return mint(
            self.key, tenant=tenant, person=PersonId(person), lifetime_s=lifetime_s,
            now_unix_s=now, **scopes,
        )  # fmt: skip

    def crafted(self, someone, *, typ=TOKEN_TYPE, key=None, **claims):
        """Sign whatever claims, with the operator's key unless another is given."""
        now = int(time.time())
        whole = {
            "aud": AUDIENCE, "iat": now, "exp": now + 600, "sub": someone.ids["person"],
            "tenant": someone.tenant, **claims,
        }  # fmt: skip
        return jwt.encode(
            whole, key or self.key.private, algorithm="EdDSA",
            headers={"kid": self.key.kid, "typ": typ},
        )  # fmt: skip

    # --- people ------------------------------------------------------------------------------

    def sign_in(self, tenant, name):
        """Make an anonymous account on a new device."""
        device = Device(name)
        body = {"tenant": tenant, "device": device.body(tenant)}
        made = self.good("POST", "/v1/auth/anonymous", json=body)
        ids = {"tenant": tenant, "person": made["person"], "session": made["session"]}
        return Someone(tenant, made["access_token"], made["refresh_token"], device, ids)

    def refresh(self, someone):
        """Exchange somebody's refresh token, for new scopes."""
        proof = someone.device.proof("refresh", someone.refresh)
        body = {"refresh_token": someone.refresh, "proof": proof}
        made = self.good("POST", "/v1/auth/refresh", json=body)
        someone.token, someone.refresh = made["access_token"], made["refresh_token"]

    def hello(self, someone, installation=None):
        """Register an installation; return its welcome."""
        return self.good(
            "POST", "/v1/sync/hello", token=someone.token,
            json=hello_body(installation or f"installation-{next(_numbers)}"),
        )  # fmt: skip

    def _administrator(self, tenant, name, root):
        someone = self.sign_in(tenant, f"{name} phone")
        path = f"/v1/admin/accounts/{someone.ids['person']}"
        self.good("PATCH", path, token=root, json={"name": name, "scopes": ["admin"]})
        self.refresh(someone)
        return someone

    def _settled(self, tenant, stem, root):
        """Return a named account with a space, a guest, rows, a conflict, a device, a service."""
        owner = self.sign_in(tenant, f"{stem}-phone")
        guest = self.sign_in(tenant, f"{stem}-guest-phone")
        ids, token = owner.ids, owner.token
        self.good("PATCH", "/v1/me", token=token, json={"name": f"{stem}-name"})
        ids["name"] = f"{stem}-name"
        self._name(owner, f"{stem}-mail@example.org")
        space = ids["space"] = f"region:{stem}-space"
        new = {"kind": "region", "space": space}
        self.good("POST", "/v1/spaces", token=root, json=new)
        manager = {"role": "manager"}
        self.good("PUT", f"/v1/spaces/{space}/members/{ids['person']}", token=root,
                  json=manager)  # fmt: skip
        wish = {"role": "member", "uses": 5, "email": f"{stem}-invited@example.org"}
        invited = self.good("POST", f"/v1/spaces/{space}/invitations", token=token, json=wish)
        ids["invitation"], ids["code"] = invited["id"], invited["code"]
        self.good("POST", "/v1/invitations/accept", token=guest.token, json={"code": ids["code"]})
        self._rows(owner, guest, stem)
        service = self.good(
            "POST", "/v1/admin/service-tokens", token=root, json={"name": f"{stem}-service"}
        )
        ids["token"], ids["service"] = service["id"], service["person"]
        ids["service_secret"] = service["token"]
        ids["installation"] = f"{stem}-installation"
        welcome = self.hello(owner, ids["installation"])
        ids["device"], ids["clock"] = welcome["device"], welcome["clock"]
        return owner

    def _rows(self, owner, guest, stem):
        ids = owner.ids
        row = ids["row_id"] = f"{stem}-row"
        fields = {"title": f"{stem}-title", "remarks": {"value": f"{stem}-remark", "seen": []}}
        new = {"space": ids["space"], "id": row, "fields": fields}
        made = self.good("POST", "/v1/rows/site", token=owner.token, json=new)
        base = made["row"]["versions"]
        for someone, word in ((owner, "lost"), (guest, "won")):
            edit = {"fields": {"title": f"{stem}-{word}"}, "base": base}
            self.good("PATCH", f"/v1/rows/site/{row}", token=someone.token, json=edit)

    def _name(self, someone, email):
        """Give an account an address and a password, with the code that was mailed."""
        body = {"email": email, "password": "correct horse"}
        begun = self.good("POST", "/v1/me/email", token=someone.token, json=body)
        done = {"flow": begun["flow"], "code": self._mailed(email)}
        profile = self.good("POST", "/v1/me/email/finish", token=someone.token, json=done)
        someone.ids["email"] = email
        someone.ids["credential"] = profile["credentials"][0]["id"]

    def _mailed(self, email):
        deadline = time.monotonic() + ANSWER_SECONDS_MAX
        while time.monotonic() < deadline:
            for mail in (self.settings.data / "mail").glob("*.eml"):
                text = mail.read_text()
                if email in text and (
                    found := re.search(r"^\s*([\d ]{8,9})\s*$", text, re.MULTILINE)
                ):
                    return found[1].replace(" ", "")
            time.sleep(0.02)
        raise AssertionError(f"no mail to {email}")

    # --- the node's own loop -----------------------------------------------------------------

    def _run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(ANSWER_SECONDS_MAX)

    async def _open(self):
        self._to_node, from_node = asyncio.Queue(), asyncio.Queue()
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        self._lifespan = asyncio.create_task(
            self.gate(scope, self._to_node.get, from_node.put)  # pyright: ignore[reportArgumentType]
        )
        self._from_node = from_node
        await self._to_node.put({"type": "lifespan.startup"})
        started = await from_node.get()
        assert started["type"] == "lifespan.startup.complete", started
        transport = httpx.ASGITransport(self.gate)  # pyright: ignore[reportArgumentType]
        self._client = httpx.AsyncClient(
            transport=transport, base_url="http://node", timeout=ANSWER_SECONDS_MAX
        )

    async def _close(self):
        await self._client.aclose()
        await self._to_node.put({"type": "lifespan.shutdown"})
        await self._from_node.get()
        await self._lifespan

    async def _stream(self, token, frames):
        to_node, from_node = asyncio.Queue(), asyncio.Queue()
        headers = [] if token is None else [(b"authorization", b"Bearer " + token.encode())]
        scope = {
            "type": "websocket", "asgi": {"version": "3.0"}, "http_version": "1.1",
            "scheme": "ws", "path": STREAM_PATH, "raw_path": STREAM_PATH.encode(),
            "root_path": "", "query_string": b"", "headers": headers, "subprotocols": [],
            "client": ("127.0.0.1", 1), "server": ("node", 80), "state": {},
            "extensions": {"websocket.http.response": {}},
        }  # fmt: skip
        served = asyncio.create_task(
            self.gate(scope, to_node.get, from_node.put)  # pyright: ignore[reportArgumentType]
        )
        await to_node.put({"type": "websocket.connect"})
        status, texts, waiting = 0, [], list(frames)
        try:
            while True:
                event = await asyncio.wait_for(from_node.get(), QUIET_SECONDS_MAX)
                status = event.get("status", status)
                texts.append(event.get("text") or (event.get("body") or b"").decode())
                if event["type"] in ENDS or (event["type"] in SAID and not waiting):
                    break
                if event["type"] in SAID:
                    frame = waiting.pop(0)
                    await to_node.put({"type": "websocket.receive", "text": frame})
        finally:
            await to_node.put({"type": "websocket.disconnect", "code": 1000})
            await asyncio.wait_for(served, ANSWER_SECONDS_MAX)
        return status, texts


def hello_body(installation):
    """Return a hello as JSON."""
    return {
        "kind": "hello", "protocol": 1, "app": "survey", "schema_version": 1,
        "fingerprint": "0123456789abcdef", "installation": installation,
        "clock": 372_000_000_000_000,
    }  # fmt: skip
