"""A real issuer of ID tokens on loopback: discovery, keys that rotate, and ways to misbehave."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from edge.ports.issuers import Issuer

if TYPE_CHECKING:
    from types import TracebackType

AUDIENCE = "client-id"
DISCOVERY, KEYS = "/.well-known/openid-configuration", "/keys"
NONCE = "0123456789abcdef"
_ALGORITHMS = {
    "RS256": RSAAlgorithm,
    "ES256": ECAlgorithm,
    "EdDSA": OKPAlgorithm,
}


class SigningKey:
    """A private key with its id and algorithm; `jwk` is its public half as published."""

    def __init__(self, kid: str | None, algorithm: str = "ES256") -> None:
        self.kid = kid
        self.algorithm = algorithm
        if algorithm == "RS256":
            self.private = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
        elif algorithm == "EdDSA":
            self.private = ed25519.Ed25519PrivateKey.generate()
        else:
            self.private = ec.generate_private_key(ec.SECP256R1())

    @property
    def jwk(self) -> dict[str, Any]:
        public: Any = self.private.public_key()
        member = _ALGORITHMS[self.algorithm].to_jwk(public, as_dict=True)
        named = {} if self.kid is None else {"kid": self.kid}
        return {**member, "alg": self.algorithm, "use": "sig", **named}


class IssuerServer:
    """`with IssuerServer() as server:` then `server.issuer` and `server.token()`.

    `requests` are the paths asked for, `asked` is set by the first. Misbehaviour: `status` of every
    answer, `body` and `discovery` instead of the true ones, `headers` more or other than the usual,
    `gate` (an Event) that answers wait for; `stop()` ends it, `start()` brings it back.
    """

    def __init__(self, *, algorithm: str = "ES256") -> None:
        self.algorithm = algorithm
        self.keys = [SigningKey("key-1", algorithm)]
        self.requests: list[str] = []
        self.asked = threading.Event()
        self.status = 200
        self.headers: dict[str, str] = {"cache-control": "public, max-age=3600"}
        self.body: bytes | None = None
        self.discovery: dict[str, Any] = {}
        self.gate: threading.Event | None = None
        self.port = 0
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def issuer(self) -> Issuer:
        """The issuer as an operator would declare it: keys are found by discovery."""
        return Issuer(self.url, (AUDIENCE,))

    @property
    def direct_issuer(self) -> Issuer:
        """The issuer with the place of its keys."""
        return Issuer(self.url, (AUDIENCE,), self.url + KEYS)

    def rotate(self) -> SigningKey:
        """Sign with a new key from now on, and publish it before the old ones."""
        key = SigningKey(f"key-{len(self.keys) + 1}", self.algorithm)
        self.keys.insert(0, key)
        return key

    def token(
        self,
        *,
        key: SigningKey | None = None,
        header: dict[str, Any] | None = None,
        now_s: float | None = None,
        **claims: Any,
    ) -> str:
        """Return an ID token that is good unless `claims` say otherwise; None leaves one out."""
        signer = key or self.keys[0]
        now = int(time.time() if now_s is None else now_s)
        payload = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "person-1",
            "iat": now,
            "exp": now + 600,
            "nonce": NONCE,
            "email": "ada@example.org",
            "email_verified": True,
            "name": "Ada Lovelace",
            **claims,
        }
        payload = {name: value for name, value in payload.items() if value is not None}
        fields = {} if signer.kid is None else {"kid": signer.kid}
        # As bytes: PyJWT would not sign some of the wrong claims that tests are about.
        return jwt.PyJWS().encode(
            json.dumps(payload).encode(),
            signer.private,
            algorithm=signer.algorithm,
            headers={"typ": "JWT", **fields, **(header or {})},
        )

    def start(self) -> None:
        assert self._server is None
        self._server = _Server(("127.0.0.1", self.port), _Handler)
        self._server.issuer = self
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.gate is not None:
            self.gate.set()
        self.stop()

    def answer(self, path: str) -> bytes:
        if self.body is not None:
            return self.body
        if path == DISCOVERY:
            return json.dumps(
                {"issuer": self.url, "jwks_uri": self.url + KEYS, **self.discovery}
            ).encode()
        return json.dumps({"keys": [key.jwk for key in self.keys]}).encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    issuer: IssuerServer


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, _Server)
        issuer = self.server.issuer
        issuer.requests.append(self.path)
        issuer.asked.set()
        if issuer.gate is not None:
            issuer.gate.wait(10)
        content = issuer.answer(self.path)
        try:
            self.send_response(issuer.status)
            for name, value in {"content-length": str(len(content)), **issuer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
        except OSError:
            return  # The other side had read enough.

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        return
