"""The `skerry` command on identity: beside one running node, and on the files of a stopped one."""

import json
import os
import stat
import time
from base64 import urlsafe_b64encode
from zipfile import ZipFile

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core.identity.proofs import signed_bytes
from edge.cli import main
from edge.cli.lines import plain
from edge.services.keys import KeyRing
from edge.services.tokens import Tokens
from edge.storage.key_files import KeyFiles
from tests.e2e.node_process import SURVEY, NodeProcess


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with NodeProcess(data=tmp_path_factory.mktemp("cli") / "node") as running:
        yield running


@pytest.fixture
def skerry(node, capsys):
    """Run a command on the node's folder; returns the lines it prints, cut at the tabs."""

    def run_on_node(*arguments, code=0):
        assert run(*arguments, "--data", node.data) == code
        printed = capsys.readouterr()
        if code:
            return printed.err + printed.out
        return [line.split("\t") for line in printed.out.splitlines()]

    return run_on_node


def run(*arguments):
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as end:
        return end.code or 0
    return 0


def encoded(raw):
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def sign_in(node, tenant="main"):
    """Make an anonymous account; returns what the node answered."""
    key = Ed25519PrivateKey.generate()
    at, nonce = int(time.time()), encoded(os.urandom(16))
    signature = key.sign(signed_bytes("sign-in", subject=tenant, at_unix_s=at, nonce=nonce))
    device = {
        "key": encoded(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)),
        "proof": {"at": at, "nonce": nonce, "signature": encoded(signature)},
    }
    body = {"device": device} if tenant == "main" else {"device": device, "tenant": tenant}
    return httpx.post(node.url + "/v1/auth/anonymous", json=body, trust_env=False)


@pytest.fixture
def person(node):
    answer = sign_in(node)
    answer.raise_for_status()
    return answer.json()


def me(node, token):
    headers = {"authorization": f"Bearer {token}"}
    return httpx.get(node.url + "/v1/me", headers=headers, trust_env=False)


def test_an_operators_token_says_so(tmp_path, capsys):
    assert run("token", "--person", "ada", "--operator", "--data", tmp_path) == 0
    tokens = Tokens(KeyRing(KeyFiles(tmp_path / "keys")), lifetime_s_max=86_400)
    principal = tokens.verify(capsys.readouterr().out.strip())
    assert principal.is_operator
    assert not principal.is_admin


def test_keys_are_rotated_and_revoked_beside_a_node(skerry, node):
    before = {kid: state for kid, _, state, _ in skerry("keys", "list")}
    assert sorted(before.values()) == ["active", "standby"]
    ((active, name, state, _),) = skerry("keys", "rotate")
    assert (before[active], name, state) == ("standby", "standalone", "active")
    token = sign_in(node).json()["access_token"]
    assert me(node, token).status_code == 200
    assert skerry("keys", "revoke", active)[0][2] == "revoked"
    assert me(node, token).status_code == 401
    states = {kid: state for kid, _, state, _ in skerry("keys", "list")}
    assert states[active] == "revoked"
    assert sorted(states.values()).count("active") == 1


def test_an_unknown_key_is_not_found(skerry):
    assert "no such key" in skerry("keys", "revoke", "nobody", code=1)


def test_a_tenant_lives_and_ends_beside_a_node(skerry, node, tmp_path):
    skerry("tenant", "create", "club", "--region", "fra", "--region", "ams")
    assert ["club", "active", "fra,ams"] in skerry("tenant", "list")
    assert sign_in(node, "club").status_code == 200
    assert "There is" in skerry("tenant", "create", "club", code=1)
    skerry("tenant", "suspend", "club")
    assert ["club", "suspended", "fra,ams"] in skerry("tenant", "list")
    assert sign_in(node, "club").status_code == 403
    skerry("tenant", "resume", "club")
    assert sign_in(node, "club").status_code == 200
    file = tmp_path / "club.zip"
    skerry("tenant", "export", "club", file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with ZipFile(file) as archive:
        assert archive.testzip() is None
        (accounts,) = [name for name in archive.namelist() if name.startswith("accounts")]
        assert len(archive.read(accounts).splitlines()) == 2
    assert "is there already" in skerry("tenant", "export", "club", file, code=2)
    assert "--yes" in skerry("tenant", "erase", "club", code=2)
    skerry("tenant", "erase", "club", "--yes")
    assert "club" not in [line[0] for line in skerry("tenant", "list")]
    assert skerry("audit", "--installation", "--subject", "club")[0][1] == "tenant.erase"


def test_what_is_not_exported_leaves_no_file(skerry, tmp_path):
    file = tmp_path / "none.zip"
    assert "no such tenant" in skerry("tenant", "export", "none", file, code=1)
    assert "no such person" in skerry("account", "export", "none", file, code=1)
    assert "not a folder" in skerry("account", "export", "x", tmp_path / "a" / "b", code=2)
    assert not list(tmp_path.iterdir())


def test_accounts_are_listed_and_shown(skerry, person):
    name = person["person"]
    assert [name, "anonymous", "active", "-", "-"] in skerry("account", "list")
    shown = dict(line[:2] for line in skerry("account", "show", name))
    assert (shown["person"], shown["tenant"], shown["kind"]) == (name, "main", "anonymous")


def test_more_accounts_than_a_page_are_all_listed(skerry, node, monkeypatch):
    monkeypatch.setattr("edge.cli.control.PAGE_ENTRIES", 2)
    made = {sign_in(node).json()["person"] for _ in range(5)}
    listed = [line[0] for line in skerry("account", "list")]
    assert made <= set(listed)
    assert len(listed) == len(set(listed))


def test_a_disabled_account_is_out_until_it_is_enabled(skerry, node, person):
    name = person["person"]
    skerry("account", "disable", name)
    assert ["state", "disabled"] in skerry("account", "show", name)
    assert me(node, person["access_token"]).status_code == 401
    skerry("account", "enable", name)
    assert ["state", "active"] in skerry("account", "show", name)


def test_an_account_is_made_an_administrator(skerry, person):
    name = person["person"]
    skerry("account", "scope", name, "--admin")
    assert ["scopes", "admin"] in skerry("account", "show", name)
    skerry("account", "scope", name, "--no-admin")
    assert ["scopes", "-"] in skerry("account", "show", name)
    assert "admin" in skerry("account", "scope", name, code=2)


def test_a_person_is_signed_out(skerry, node, person):
    assert skerry("account", "sign-out", person["person"]) == [["ended", "1"]]
    assert me(node, person["access_token"]).status_code == 401


def test_a_person_is_exported_and_erased(skerry, node, person, tmp_path):
    name, file = person["person"], tmp_path / "person.zip"
    skerry("account", "export", name, file)
    with ZipFile(file) as archive:
        assert name.encode() in b"".join(archive.read(entry) for entry in archive.namelist())
    assert "--yes" in skerry("account", "erase", name, code=2)
    skerry("account", "erase", name, "--yes")
    assert me(node, person["access_token"]).status_code == 401
    assert "no such person" in skerry("account", "show", name, code=1)


@pytest.mark.parametrize(
    "arguments",
    [["show"], ["disable"], ["enable"], ["scope", "--admin"], ["sign-out"], ["erase", "--yes"]],
)
def test_an_unknown_person_is_not_found(skerry, arguments):
    command, *flags = arguments
    assert "no such person" in skerry("account", command, "nobody", *flags, code=1)


def test_a_service_token_is_made_listed_and_revoked(skerry, node):
    made = dict(skerry("service-token", "create", "night job", "--admin"))
    assert [made["id"], made["person"], "night job"] in [
        [line[0], line[1], line[3]] for line in skerry("service-token", "list")
    ]
    body, path = {"token": made["token"]}, node.url + "/v1/auth/service"
    exchanged = httpx.post(path, json=body, trust_env=False)
    assert me(node, exchanged.json()["access_token"]).json()["scopes"] == ["admin"]
    skerry("service-token", "revoke", made["id"])
    assert httpx.post(path, json=body, trust_env=False).is_error
    assert made["id"] not in [line[0] for line in skerry("service-token", "list")]
    assert "no such service token" in skerry("service-token", "revoke", made["id"], code=1)


def test_the_trail_is_printed_a_line_an_entry(skerry, person):
    name = person["person"]
    skerry("account", "disable", name)
    at, action, actor, subject, _, detail = skerry("audit", "--subject", name)[-1]
    assert at.startswith("20")
    assert at.endswith("Z")
    assert (action, actor, subject) == ("account.change", "operator", name)
    assert json.loads(detail)["state"] == "disabled"
    assert "two different trails" in skerry("audit", "--tenant", "x", "--installation", code=2)


def test_an_explanation_names_each_step_and_the_verdict(skerry, node):
    node.set_member("region:north", "ada")
    shown = ["explain", "ada", "insert", "note/one", "--space", "region:north"]
    lines = skerry(*shown, "--field", 'text="quiet"')
    assert lines[-1] == ["verdict", "allowed"]
    assert ["allowed", "rule no_shouting", "It accepts."] in lines
    lines = skerry(*shown, "--field", 'text="SHOUT"')
    assert lines[-1] == ["verdict", "denied", "no-shouting", "Do not shout."]
    assert ["denied", "rule no_shouting", "no-shouting: Do not shout."] in lines
    lines = skerry("explain", "ben", "insert", "note/one", "--space", "region:north")
    assert lines[-1][:2] == ["verdict", "denied"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ada", "read", "note"], "COLLECTION/ROW"),
        (["ada", "eat", "note/one"], "eat"),
        (["ada", "edit", "note/one", "--field", "text"], "NAME=JSON"),
        (["ada", "edit", "note/one", "--field", "text=quiet"], "NAME=JSON"),
        (["ada", "insert", "note/one"], "space"),
        (["ada", "read", "nothing/one"], "collection"),
    ],
)
def test_an_operation_that_cannot_be_explained_says_why(skerry, arguments, said):
    assert said in skerry("explain", *arguments, code=2)


@pytest.mark.parametrize(
    "arguments",
    [
        ["account", "list"],
        ["account", "erase", "ada", "--yes"],
        ["account", "export", "ada", "ada.zip"],
        ["service-token", "list"],
        ["audit"],
        ["explain", "ada", "read", "note/one"],
        ["tenant", "suspend", "club"],
        ["tenant", "erase", "club", "--yes"],
        ["tenant", "export", "club", "club.zip"],
    ],
)
def test_what_needs_a_running_node_says_so(tmp_path, capsys, arguments):
    folder = tmp_path / "nowhere"
    assert run(*arguments, "--data", folder) == 1
    assert "No node is running" in capsys.readouterr().err
    assert not folder.exists()


def test_keys_and_tenants_on_the_files_of_a_stopped_node(tmp_path, capsys, monkeypatch):
    def lines(*arguments):
        assert run(*arguments, "--data", tmp_path / "node") == 0
        return [line.split("\t") for line in capsys.readouterr().out.splitlines()]

    assert run("keys", "list", "--data", tmp_path / "node") == 1
    assert "No node has run" in capsys.readouterr().err
    assert run("tenant", "create", "club", "--data", tmp_path / "node") == 2
    assert "MODULE" in capsys.readouterr().err
    lines("tenant", "create", "club", SURVEY, "--region", "fra")
    assert lines("tenant", "list") == [["club"]]
    assert run("tenant", "create", "club", SURVEY, "--data", tmp_path / "node") == 1
    assert "There is" in capsys.readouterr().err
    before = {kid: state for kid, _, state, _ in lines("keys", "list")}
    ((active, _, _, _),) = lines("keys", "rotate")
    assert before[active] == "standby"
    assert lines("keys", "revoke", active)[0][2] == "revoked"
    assert run("keys", "revoke", "nobody", "--data", tmp_path / "node") == 1
    assert "no such key" in capsys.readouterr().err
    monkeypatch.setenv("SKERRY_NODE", "elsewhere")
    assert run("keys", "rotate", "--data", tmp_path / "node") == 1
    assert "SKERRY_NODE" in capsys.readouterr().err
    monkeypatch.delenv("SKERRY_NODE")
    states = [state for _, _, state, _ in lines("keys", "list")]
    assert sorted(states) == ["active", "previous", "revoked", "standby"]
    with NodeProcess(data=tmp_path / "node") as node:
        assert sign_in(node).status_code == 200
        assert ["club", "active", "fra"] in lines("tenant", "list")


def test_what_people_wrote_cannot_steer_a_terminal():
    assert plain("a\tb\n\x1b[31m\u202e") == "a\\tb\\n\\x1b[31m\\u202e"
    assert plain("Grüße 😀") == "Grüße 😀"
    assert plain("") == "-"
