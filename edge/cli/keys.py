"""`skerry keys list|rotate|revoke`: the keys that nodes sign access tokens with."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import App

from edge.cli.control import ask_node, is_running, segment
from edge.cli.direct import on_keys
from edge.cli.lines import moment, print_lines
from edge.errors import NotFound
from edge.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from core.identity.keys import NodeKey
    from edge.services.identity.signing import Signing
    from edge.settings import Settings

PATH = "/v1/operator/keys"
keys = App(name="keys", help="The keys that nodes sign access tokens with.")


@keys.command(name="list")
def list_keys(*, data: Path | None = None) -> None:
    """Print the keys of every node: id, node, state, when the state began.

    Parameters
    ----------
    data
        The node's data folder.
    """
    settings = read_settings(os.environ, data=data)
    if is_running(settings):
        _print(_ask(settings, "GET", PATH)["keys"])
        return

    async def work(signing: Signing) -> None:
        _print(map(_shown, await signing.list()))

    asyncio.run(on_keys(settings, work))


@keys.command
def rotate(*, data: Path | None = None) -> None:
    """Sign with the standby key from now on; what was signed before stays good until it expires.

    Without a running node, SKERRY_NODE says which node's key it is.

    Parameters
    ----------
    data
        The node's data folder.
    """
    settings = read_settings(os.environ, data=data)
    if is_running(settings):
        _print([_ask(settings, "POST", f"{PATH}/rotate")])
        return

    async def work(signing: Signing) -> None:
        await _open(signing)
        _print([_shown(await signing.rotate(actor="operator"))])

    asyncio.run(on_keys(settings, work))


@keys.command
def revoke(kid: str, /, *, data: Path | None = None) -> None:
    """Make everything that the key KID has signed worth nothing, at once and for ever.

    Parameters
    ----------
    kid
        The key's id.
    data
        The node's data folder.
    """
    settings = read_settings(os.environ, data=data)
    if is_running(settings):
        _print([_ask(settings, "POST", f"{PATH}/{segment(kid)}/revoke")])
        return

    async def work(signing: Signing) -> None:
        await _open(signing)
        _print([_shown(await signing.revoke(kid, actor="operator"))])

    asyncio.run(on_keys(settings, work))


async def _open(signing: Signing) -> None:
    """Open the keys of a node that has some: a wrong name must not make keys of its own."""
    if not any(key.node == signing.node for key in await signing.list()):
        raise NotFound(f"No node named {signing.node!r} has keys here: name it with SKERRY_NODE.")
    await signing.open()


def _ask(settings: Settings, method: str, path: str) -> Any:  # noqa: ANN401  (JSON)
    # Keys belong to no tenant; the token's is one that may not even exist.
    return ask_node(settings, method, path, tenant="main", is_operator=True)


def _shown(key: NodeKey) -> dict[str, Any]:
    return {
        "kid": key.kid,
        "node": key.node,
        "state": key.state.value,
        "changed_ms": key.changed_ms,
    }


def _print(found: Iterable[Mapping[str, Any]]) -> None:
    print_lines((k["kid"], k["node"], k["state"], moment(k["changed_ms"])) for k in found)
