"""Token check: processor time of Tokens.verify, with the node's own keys and revocations.

`token_check.seen` is a token that was verified before, as nearly every request brings one;
`token_check.new` is one never seen, signed by a key that is already read. The limit of both is the
raw Ed25519 verification of the same bytes.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from statistics import median
from typing import TYPE_CHECKING

import jwt
import uvloop
from jwt.utils import base64url_decode

from bench.figure import Figure
from bench.identity_client import TENANT, Connection, Device
from bench.node_process import NodeProcess, data_folder
from edge.identity_wiring import CONTROL_FILE
from edge.repositories.control.database import SqlControlDatabase
from edge.services.identity.trust import Trust
from edge.services.keys import KeyRing
from edge.services.tokens import CACHED_TOKENS_MAX, Tokens, signed
from edge.storage.key_files import KeyFiles
from edge.storage.sqlite import SqliteEngine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edge.ports.keys import SigningKey

ROUNDS, TOKENS_PER_ROUND = 15, 400
REVOCATIONS = 1_000
"""As after a bad day: the table that every check looks into is not empty."""


def measure(*, quick: bool) -> list[Figure]:
    rounds, count = (2, 20) if quick else (ROUNDS, TOKENS_PER_ROUND)
    assert rounds * count < CACHED_TOKENS_MAX, "a token that was seen must still be known"
    with data_folder() as folder:
        with NodeProcess(folder) as node:
            template = uvloop.run(_a_token(node.port))
        return asyncio.run(_measured(folder, template, rounds, count))


async def _a_token(port: int) -> str:
    device, connection = Device(), await Connection.open(port)
    await device.sign_in(connection, "/v1/auth/anonymous")
    connection.close()
    return device.told.access_token


async def _measured(folder: Path, template: str, rounds: int, count: int) -> list[Figure]:
    _revoke_some(folder / CONTROL_FILE)
    engine = SqliteEngine(folder / CONTROL_FILE, is_writer=False)
    await engine.open()
    files = KeyFiles(folder / "keys")
    trust = Trust(SqlControlDatabase(engine), KeyRing(files))
    try:
        await trust.refresh()
        tokens = Tokens(trust, lifetime_s_max=86_400)
        key = files.private_key(jwt.get_unverified_header(template)["kid"])
        assert key is not None, "the node keeps what it signs with"
        new, seen, raw = list[float](), list[float](), list[float]()
        for number in range(rounds):
            batch = _like(template, key, range(number * count, (number + 1) * count))
            new.append(_us_each(tokens.verify, batch))
            seen.append(_us_each(tokens.verify, batch))
            raw.append(_raw_us_each(key, batch))
    finally:
        await engine.close()
    limit = median(raw)
    return [
        Figure(
            name="token_check.seen", value=median(seen), unit="us of CPU", limit=limit, at_most=60
        ),
        Figure(
            name="token_check.new", value=median(new), unit="us of CPU", limit=limit, at_most=60
        ),
    ]


def _like(template: str, key: SigningKey, numbers: range) -> list[str]:
    """Return tokens with the claims of one that the node has given, of other sessions."""
    claims = jwt.decode(template, options={"verify_signature": False})
    return [signed(key, {**claims, "sid": f"{claims['sid'][:-6]}{n:06}"}) for n in numbers]


def _us_each(work: Callable[[str], object], batch: Sequence[str]) -> float:
    started = time.process_time()
    for token in batch:
        work(token)
    return (time.process_time() - started) / len(batch) * 1e6


def _raw_us_each(key: SigningKey, batch: Sequence[str]) -> float:
    verify = key.private.public_key().verify
    parts = [token.rpartition(".") for token in batch]
    signatures = [base64url_decode(part[2]) for part in parts]
    messages = [part[0].encode() for part in parts]
    started = time.process_time()
    for signature, message in zip(signatures, messages, strict=True):
        verify(signature, message)
    return (time.process_time() - started) / len(batch) * 1e6


def _revoke_some(path: Path) -> None:
    until_s = int(time.time()) + 86_400
    rows = [(n, TENANT, "session", f"gone-{n}", 0, until_s) for n in range(1, REVOCATIONS + 1)]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            "INSERT INTO ct_revocation (id, tenant, kind, subject, at_s, until_s) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            rows,
        )
