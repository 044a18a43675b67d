"""`skerry node invite|join|list|revoke|remove`: which nodes belong to the fleet.

All but `join` ask the running node, over its listener for nodes and signed with its own key.
"""

from __future__ import annotations

import asyncio
import os
import sys
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cyclopts import App

from edge.cli.control import require_running
from edge.cli.failure import CommandError
from edge.cli.lines import moment, print_lines
from edge.errors import EdgeError, Unavailable
from edge.settings import parse_duration_s, read_settings
from sync_protocol.errors import ProtocolError

if TYPE_CHECKING:
    from edge.dto.fleet import JoinedBody
    from edge.gateways.node_calls import HttpNodeCalls
    from edge.ports.keys import SigningKey
    from edge.settings import Settings
    from edge.storage.key_files import KeyFiles

T = TypeVar("T")
ASK_S: Final = 30.0
JOIN_S: Final = 10.0
JOIN_ATTEMPTS: Final = 3
JOIN_PATH: Final = "/internal/v1/join"
NODES_PATH: Final = "/internal/v1/nodes"
CONTROL_FILE: Final = "control.db"
node = App(name="node", help="The nodes of the fleet.")


@node.command
def invite(*, node: str, region: str, ttl: str = "15m", data: Path | None = None) -> None:
    """Print a one-time token that the node NODE joins with; run it on the primary.

    Parameters
    ----------
    node
        The new node's name.
    region
        Where it is: it may vouch for tenants of this region alone.
    ttl
        How long the token may be used: 90s, 15m, 12h or 2d.
    data
        The primary's data folder.
    """
    from edge.dto.fleet import InvitedBody, InvitingBody  # noqa: PLC0415

    settings = read_settings(os.environ, data=data)
    body = InvitingBody(node, region, parse_duration_s(ttl))
    invited = _ask(settings, f"{NODES_PATH}/invite", InvitedBody, body)
    print_lines([(invited.token, moment(invited.expires_ms))])


@node.command(name="list")
def list_nodes(*, data: Path | None = None) -> None:
    """Print every node: name, region, state, whether it is the primary, address, when it joined.

    Parameters
    ----------
    data
        The data folder of a node of the fleet.
    """
    from edge.dto.fleet import NodesBody  # noqa: PLC0415

    settings = read_settings(os.environ, data=data)
    found = _ask(settings, NODES_PATH, NodesBody, method="GET")
    print_lines(
        (n.node, n.region, n.state, "primary" if n.is_primary else "-", n.url, moment(n.joined_ms))
        for n in found.nodes
    )


@node.command
def revoke(name: str, /, *, data: Path | None = None) -> None:
    """Make everything that the node's keys sign worth nothing; it may be invited again.

    Parameters
    ----------
    name
        The node's name.
    data
        The primary's data folder.
    """
    _take_back(name, "revoke", data)


@node.command
def remove(name: str, /, *, data: Path | None = None) -> None:
    """Take a node out for ever: its keys are worth nothing, its name is not given again.

    Parameters
    ----------
    name
        The node's name.
    data
        The primary's data folder.
    """
    _take_back(name, "remove", data)


@node.command
def join(
    *,
    primary: str,
    token: str,
    url: str = "",
    grpc_url: str = "",
    data: Path | None = None,
) -> None:
    """Make this data folder a node of the fleet: its keys are made here and never leave it.

    Parameters
    ----------
    primary
        Where the primary listens for nodes, such as https://10.0.0.1:8788.
    token
        What `skerry node invite` has printed.
    url
        Where other nodes call this one.
    grpc_url
        Where replicas of this node's sqld connect, should it become the primary.
    data
        The new node's data folder; made when it is missing.
    """
    from edge.storage.node_file import NodeFacts, read_node, write_node  # noqa: PLC0415
    from edge.workers.serve_lock import DataLock  # noqa: PLC0415

    settings = read_settings(os.environ, data=data, primary_url=primary, url=url or None)
    if read_node(settings.data) is not None:
        raise CommandError(f"{settings.data} belongs to a node of a fleet already")
    if (settings.data / CONTROL_FILE).exists():
        raise CommandError(f"{settings.data} holds a node of its own: join with an empty folder")
    with DataLock(settings.data):
        joined = asyncio.run(_join(settings, token, grpc_url or settings.grpc_url))
        facts = NodeFacts(
            joined.node,
            joined.region,
            joined.primary_url or settings.primary_url,
            joined.primary_grpc_url,
            joined.primary_node,
        )
        write_node(settings.data, facts)
    print_lines([(joined.node, joined.region, joined.primary_node)])


async def _join(settings: Settings, token: str, grpc_url: str) -> JoinedBody:
    from edge.dto.fleet import JoinedBody, JoiningBody, JoiningKey  # noqa: PLC0415
    from edge.services.fleet.calls import OK  # noqa: PLC0415
    from edge.services.fleet.told import told  # noqa: PLC0415
    from edge.storage.key_files import KeyFiles  # noqa: PLC0415
    from edge.storage.node_file import forget_joining  # noqa: PLC0415

    files = KeyFiles(settings.keys_folder)
    active, standby = _keys(settings, files, token)
    body = JoiningBody(
        token,
        JoiningKey(active.kid, _public(active)),
        JoiningKey(standby.kid, _public(standby)),
        settings.url,
        grpc_url,
    )
    calls = _calls(settings)
    headers = [(b"content-type", b"application/json")]
    failure: EdgeError = Unavailable("The primary was not asked.")
    try:
        for _ in range(JOIN_ATTEMPTS):
            try:
                answer = await calls.request(
                    settings.primary_url, "POST", JOIN_PATH, headers, msgspec.json.encode(body),
                    deadline_s=JOIN_S,
                )  # fmt: skip
            except Unavailable as error:
                failure = error
                continue
            if answer.status == OK:
                return msgspec.json.decode(answer.body, type=JoinedBody)
            refused = told(answer.body)
            if isinstance(refused, Unavailable):
                failure = refused
                continue
            for key in (active, standby):
                files.forget(key.kid)
            forget_joining(settings.data)
            raise refused if isinstance(refused, EdgeError) else CommandError(str(refused))
    finally:
        await calls.close()
    raise failure


def _keys(settings: Settings, files: KeyFiles, token: str) -> tuple[SigningKey, SigningKey]:
    """Return the keys to join with: those of the attempt before, whose answer may be lost."""
    from edge.services.fleet.membership import named_in  # noqa: PLC0415
    from edge.storage.node_file import JoiningKeys, read_joining, write_joining  # noqa: PLC0415

    name, _ = named_in(token)
    digest = sha256(token.encode()).hexdigest()
    begun = read_joining(settings.data)
    if begun is not None and begun.token == digest:
        active, standby = files.private_key(begun.active), files.private_key(begun.standby)
        if active is not None and standby is not None:
            return active, standby
    active, standby = files.make(name), files.make(name)
    write_joining(settings.data, JoiningKeys(digest, active.kid, standby.kid))
    return active, standby


def _take_back(name: str, what: str, data: Path | None) -> None:
    from edge.dto.fleet import NodeNameBody, RevokedBody  # noqa: PLC0415

    settings = read_settings(os.environ, data=data)
    revoked = _ask(settings, f"{NODES_PATH}/{what}", RevokedBody, NodeNameBody(name))
    sys.stdout.write(f"{revoked.keys} keys revoked\n")


def _ask(
    settings: Settings, path: str, kind: type[T], body: object = None, *, method: str = "POST"
) -> T:
    require_running(settings)
    content = b"" if body is None else msgspec.json.encode(body)
    return msgspec.json.decode(asyncio.run(_asked(settings, method, path, content)), type=kind)


async def _asked(settings: Settings, method: str, path: str, body: bytes) -> bytes:
    """Call this folder's own node, signed with its own key; the control database is only read."""
    import time  # noqa: PLC0415

    from edge.ports.fleet import CONTROL  # noqa: PLC0415
    from edge.repositories.control.database import SqlControlDatabase  # noqa: PLC0415
    from edge.services.fleet.calls import SignedCalls  # noqa: PLC0415
    from edge.services.fleet.node_tokens import NodeTokens  # noqa: PLC0415
    from edge.services.identity.signing import Signing  # noqa: PLC0415
    from edge.services.identity.trust import Trust  # noqa: PLC0415
    from edge.services.keys import KeyRing  # noqa: PLC0415
    from edge.storage.fleet_files import file_of  # noqa: PLC0415
    from edge.storage.key_files import KeyFiles  # noqa: PLC0415
    from edge.storage.node_file import read_node  # noqa: PLC0415
    from edge.storage.sqlite import SqliteEngine  # noqa: PLC0415

    facts = read_node(settings.data)
    own = settings.node if facts is None else facts.node
    files = KeyFiles(settings.keys_folder)
    stored = settings.data / CONTROL_FILE
    if not stored.is_file():
        stored = file_of(settings.sqld_folder, CONTROL)  # an edge has its sqld's copy alone
    engine = SqliteEngine(stored, is_writer=False)
    await engine.open()
    control = SqlControlDatabase(engine)
    calls = _calls(settings)
    try:
        trust = Trust(control, KeyRing(files))
        await trust.refresh()
        signing = Signing(
            control, files, trust, node=own, now_ms=lambda: time.time_ns() // 1_000_000
        )
        signed = SignedCalls(calls, NodeTokens(trust, signing))
        return await signed.ask(
            _own_url(settings), own, path, body, method=method, deadline_s=ASK_S
        )
    except ProtocolError as error:
        raise CommandError(error.message) from error
    finally:
        await calls.close()
        await control.close()


def _calls(settings: Settings) -> HttpNodeCalls:
    from edge.gateways.certificates import client_context, find_tls  # noqa: PLC0415
    from edge.gateways.node_calls import HttpNodeCalls  # noqa: PLC0415

    files = find_tls(
        settings.data, ca=settings.tls_ca, cert=settings.tls_cert, key=settings.tls_key
    )
    return HttpNodeCalls(None if files is None else client_context(files))


def _own_url(settings: Settings) -> str:
    """Return where this node listens for nodes, on this machine."""
    if settings.url:
        return settings.url
    from edge.gateways.certificates import find_tls  # noqa: PLC0415

    files = find_tls(
        settings.data, ca=settings.tls_ca, cert=settings.tls_cert, key=settings.tls_key
    )
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(  # noqa: S104  (compared, not bound)
        settings.internal_host, settings.internal_host
    )
    scheme = "http" if files is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.internal_port}"


def _public(key: SigningKey) -> bytes:
    return key.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
