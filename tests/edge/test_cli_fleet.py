"""`skerry certs` and `skerry node`, beside a listening primary, with TLS and without."""

import asyncio
import json
import re
import shutil

import pytest

from edge.cli.certs import certs
from edge.cli.failure import CommandError
from edge.cli.node import node
from edge.errors import Conflict, InvalidGrant, InvalidQuery, NotFound, Unavailable
from edge.gateways.certificates import find_tls, server_context
from edge.storage.key_files import KeyFiles
from edge.storage.node_file import read_joining, read_node
from edge.workers.serve_lock import DataLock
from tests.edge.services.fleet.fleet_world import PRIMARY, fleet, listening


@pytest.fixture
def run(capsys):
    """Run a command in a thread; returns the lines it prints, cut at the tabs."""

    async def run_command(app, *arguments):
        words = [str(argument) for argument in arguments]
        await asyncio.to_thread(
            app, words, exit_on_error=False, print_error=False, result_action="return_value"
        )
        return [line.split("\t") for line in capsys.readouterr().out.splitlines()]

    return run_command


@pytest.fixture(params=["plain", "tls"])
async def primary(request, tmp_path, monkeypatch, run):
    """A primary's data folder, its node listening; and a new node's folder."""
    data, new = tmp_path / "data", tmp_path / "new"
    data.mkdir()
    context = None
    if request.param == "tls":
        out = tmp_path / "certs"
        await run(certs, "init", "--out", out)
        for name, folder in ((PRIMARY, data), ("iad-1", new)):
            await run(certs, "node", name, "--address", "10.0.0.1", "--out", out)
            folder.mkdir(exist_ok=True)
            shutil.copytree(out / name, folder / "tls")
        files = find_tls(data)
        assert files is not None
        context = server_context(files)
    monkeypatch.setenv("SKERRY_NODE", PRIMARY)
    async with fleet(data) as world, listening(world.gate(), context=context) as url:
        await world.found(url)
        monkeypatch.setenv("SKERRY_INTERNAL_PORT", url.rpartition(":")[2])
        with DataLock(data):
            yield world, url, data, new


async def joined(run, primary):
    _, url, data, new = primary
    ((token, _until),) = await run(
        node, "invite", "--node", "iad-1", "--region", "iad", "--data", data
    )
    printed = await run(
        node, "join", "--primary", url, "--token", token, "--url", "https://10.0.0.2:8788",
        "--data", new,
    )  # fmt: skip
    return token, printed


async def test_a_node_is_invited_joins_is_listed_and_removed(run, primary):
    world, url, data, new = primary
    token, printed = await joined(run, primary)
    assert re.fullmatch(r"skn_iad-1\.iad\.[\w-]{32}", token)
    assert printed == [["iad-1", "iad", PRIMARY]]
    facts = json.loads((new / "node.json").read_text())
    assert facts == {
        "node": "iad-1", "region": "iad", "primary_url": url, "primary_grpc_url": "",
        "primary_node": PRIMARY,
    }  # fmt: skip
    assert (new / "node.json").stat().st_mode & 0o777 == 0o600
    assert read_node(new) is not None
    assert read_joining(new) is None
    listed = await run(node, "list", "--data", data)
    assert [line[:5] for line in listed] == [
        [PRIMARY, "fra", "joined", "primary", url],
        ["iad-1", "iad", "joined", "-", "https://10.0.0.2:8788"],
    ]
    edge = await world.party("iad-1")
    edge.files = KeyFiles(new / "keys")
    edge.signing._private = edge.files
    sealed = await edge.tokens.sign(to=PRIMARY, method="GET", target="/", body=b"")
    assert world.primary.tokens.verify(sealed, method="GET", target="/", body=b"").region == "iad"
    assert await run(node, "revoke", "iad-1", "--data", data) == [["2 keys revoked"]]
    assert await run(node, "remove", "iad-1", "--data", data) == [["0 keys revoked"]]
    assert (await run(node, "list", "--data", data))[1][2] == "removed"


async def test_a_folder_joins_once_and_a_token_is_worth_one_join(run, primary):
    _, url, _, new = primary
    token, _ = await joined(run, primary)
    with pytest.raises(CommandError, match="already"):
        await run(node, "join", "--primary", url, "--token", token, "--data", new)
    again = new.with_name("again")
    again.mkdir()
    if (new / "tls").exists():
        shutil.copytree(new / "tls", again / "tls")
    with pytest.raises(InvalidGrant):
        await run(node, "join", "--primary", url, "--token", token, "--data", again)
    assert not (again / "node.json").exists()
    assert list((again / "keys").glob("*.pem")) == []


async def test_what_the_operator_asks_wrongly_is_refused(run, primary):
    _, url, data, new = primary
    with pytest.raises(CommandError, match="small letters"):
        await run(node, "invite", "--node", "Fra", "--region", "fra", "--data", data)
    with pytest.raises(Conflict, match="primary"):
        await run(node, "remove", PRIMARY, "--data", data)
    with pytest.raises(NotFound):
        await run(node, "revoke", "nobody", "--data", data)
    with pytest.raises(InvalidGrant):
        await run(node, "join", "--primary", url, "--token", "x", "--data", new)
    (new / "control.db").touch()
    with pytest.raises(CommandError, match="of its own"):
        await run(node, "join", "--primary", url, "--token", "x", "--data", new)


async def test_a_join_whose_answer_was_lost_goes_on_with_its_keys(run, primary, monkeypatch):
    from edge.gateways.node_calls import HttpNodeCalls

    world, url, _, new = primary
    token = await world.invited("iad-1", "iad")
    real, sent = HttpNodeCalls.request, []

    async def deaf(self, *arguments, **options):
        sent.append(arguments[-1])
        await real(self, *arguments, **options)
        raise Unavailable("The answer was lost.")

    monkeypatch.setattr(HttpNodeCalls, "request", deaf)
    with pytest.raises(Unavailable, match="lost"):
        await run(node, "join", "--primary", url, "--token", token, "--data", new)
    assert len(sent) == 3
    monkeypatch.setattr(HttpNodeCalls, "request", real)
    await run(node, "join", "--primary", url, "--token", token, "--data", new)
    own = [key.kid for key in await world.primary.signing.list() if key.node == "iad-1"]
    assert sorted(path.stem for path in (new / "keys").glob("iad-1-*.pem")) == sorted(own)


async def test_without_a_running_node_nothing_is_asked(run, tmp_path):
    for words in (["list"], ["remove", "x"], ["invite", "--node", "x", "--region", "y"]):
        with pytest.raises(Unavailable, match="No node is running"):
            await run(node, *words, "--data", tmp_path)


async def test_certificates_are_made_once_and_for_nodes(run, tmp_path):
    out = tmp_path / "certs"
    ((printed,),) = await run(certs, "init", "--out", out)
    assert printed == str(out / "ca.pem")
    with pytest.raises(Conflict):
        await run(certs, "init", "--out", out)
    with pytest.raises(CommandError, match="small letters"):
        await run(certs, "node", "../x", "--address", "10.0.0.1", "--out", out)
    with pytest.raises(InvalidQuery):
        await run(certs, "node", "fra-1", "--address", "https://x", "--out", out)
    ((folder,),) = await run(certs, "node", "fra-1", "--address", "a.example", "--out", out)
    assert folder == str(out / "fra-1")
