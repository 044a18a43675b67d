"""Devices that sign in and refresh, and the connections they do it on, one keep-alive each."""

from __future__ import annotations

import asyncio
import os
import time
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core.identity.proofs import signed_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TENANT = "main"
NONCE_BYTES = 16
LIMITS_NOT_MET = "register.address=1000000/1s,refresh.address=1000000/1s,request.address=1000000/1s"
"""Every device of a measurement has one address: it is counted, and admitted."""


class Tokens(msgspec.Struct):
    """What a device is told when it has signed in."""

    access_token: str
    refresh_token: str
    session: str
    generation: int


class Device:
    """A device with its key, and what it was told last."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self.told = Tokens("", "", "", 0)

    def sign_in_body(self, **more: object) -> bytes:
        """Return the body of a sign-in; `more` is what the way in needs besides."""
        public = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        device = {"key": base64url(public), "proof": self._proof("sign-in", TENANT)}
        return msgspec.json.encode({"device": device, **more})

    def refresh_body(self) -> bytes:
        token = self.told.refresh_token
        return msgspec.json.encode({"refresh_token": token, "proof": self._proof("refresh", token)})

    async def sign_in(self, connection: Connection, path: str, **more: object) -> None:
        answer = await connection.expect(200, "POST", path, self.sign_in_body(**more))
        self.told = msgspec.json.decode(answer, type=Tokens)

    async def refresh(self, connection: Connection) -> None:
        """Exchange the refresh token; raise RuntimeError unless it was rotated."""
        answer = await connection.expect(200, "POST", "/v1/auth/refresh", self.refresh_body())
        told = msgspec.json.decode(answer, type=Tokens)
        if told.generation != self.told.generation + 1:
            raise RuntimeError("the refresh token was not rotated")
        self.told = told

    def _proof(self, purpose: str, subject: str) -> Mapping[str, object]:
        at, nonce = int(time.time()), base64url(os.urandom(NONCE_BYTES))
        message = signed_bytes(purpose, subject=subject, at_unix_s=at, nonce=nonce)
        return {"at": at, "nonce": nonce, "signature": base64url(self._key.sign(message))}


class Connection:
    """One keep-alive connection; requests go one after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> Self:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def request(
        self, method: str, path: str, body: bytes = b"", *, token: str = ""
    ) -> tuple[int, bytes]:
        """Return status and body."""
        head = f"{method} {path} HTTP/1.1\r\nhost: localhost\r\n"
        if token:
            head += f"authorization: Bearer {token}\r\n"
        if body:
            head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
        self._writer.write(head.encode() + b"\r\n" + body)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        status, lower = int(answer[9:12]), answer.lower()
        at = lower.find(b"content-length: ")
        if at < 0:
            return status, b""  # 204
        length = int(lower[at + 16 : lower.index(b"\r\n", at)])
        return status, await self._reader.readexactly(length)

    async def expect(
        self, status: int, method: str, path: str, body: bytes = b"", *, token: str = ""
    ) -> bytes:
        """Return the body; raise RuntimeError for any other status."""
        found, content = await self.request(method, path, body, token=token)
        if found != status:
            raise RuntimeError(f"{method} {path}: {found} {content[:300]!r}")
        return content

    def close(self) -> None:
        self._writer.close()

    @property
    def local_port(self) -> int:
        return self._writer.get_extra_info("sockname")[1]


def workers_of(port: int, connections: Iterable[Connection], pids: Iterable[int]) -> list[int]:
    """Return the process that has accepted each connection, 0 where none has yet (proc(5))."""
    accepted: dict[int, str] = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        local, remote = (int(field.rpartition(":")[2], 16) for field in fields[1:3])
        if local == port:
            accepted[remote] = f"socket:[{fields[9]}]"
    holders = {
        str(file.readlink()): pid
        for pid in pids
        for file in Path(f"/proc/{pid}/fd").iterdir()
        if file.is_symlink()
    }
    return [holders.get(accepted.get(c.local_port, ""), 0) for c in connections]


def base64url(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()
