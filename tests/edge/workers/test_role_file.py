"""role.json, and what becomes of the databases when the role changes."""

import json

import pytest

from core.fleet import Role
from edge.settings import SettingError, read_settings
from edge.workers.role_file import FILE_BYTES_MAX, NodeRole, RoleFile, read_role
from edge.workers.role_folder import KEPT_MAX, fenced, take_up

EDGE = NodeRole(Role.EDGE, 3, "https://p:8788", "https://p:5001", "ams-1")
GOOD = {"role": "edge", "epoch": 3, "primary_url": "", "primary_grpc_url": ""}


def test_what_is_written_is_read(tmp_path):
    file = RoleFile(tmp_path / "new")
    file.write(EDGE)
    assert file.read() == EDGE
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["role.json"]


def test_a_draft_that_a_crash_left_is_not_read(tmp_path):
    RoleFile(tmp_path).write(EDGE)
    (tmp_path / "role.json.new").write_text('{"role": "pri')
    assert RoleFile(tmp_path).read() == EDGE
    RoleFile(tmp_path).write(NodeRole(Role.PRIMARY, 4, "", ""))
    assert RoleFile(tmp_path).read() == NodeRole(Role.PRIMARY, 4, "", "")


def test_the_settings_decide_without_a_file_and_fill_what_it_leaves_empty(tmp_path):
    settings = read_settings({}, data=tmp_path, role="edge", primary_url="http://127.0.0.1:1")
    assert read_role(settings) == NodeRole(Role.EDGE, 0, "http://127.0.0.1:1", "")
    RoleFile(tmp_path).write(NodeRole(Role.PRIMARY, 2, "", "http://127.0.0.1:2"))
    assert read_role(settings) == NodeRole(
        Role.PRIMARY, 2, "http://127.0.0.1:1", "http://127.0.0.1:2"
    )


def test_the_primary_is_named_by_the_file_and_by_the_settings_only_without_it(tmp_path):
    settings = read_settings({}, data=tmp_path, role="edge", primary_node="iad-1")
    assert read_role(settings).primary_node == "iad-1"
    (tmp_path / "role.json").write_text(json.dumps(GOOD))
    assert read_role(settings).primary_node == "iad-1", "a file of an earlier version names nobody"
    RoleFile(tmp_path).write(EDGE)
    assert read_role(settings).primary_node == "ams-1"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"[]",
        b"{}",
        b"7",
        b"[" * 5_000,
        json.dumps(GOOD | {"role": "king"}).encode(),
        json.dumps(GOOD | {"role": None}).encode(),
        json.dumps(GOOD | {"role": ["edge"]}).encode(),
        json.dumps(GOOD | {"epoch": -1}).encode(),
        json.dumps(GOOD | {"epoch": "3"}).encode(),
        json.dumps(GOOD | {"epoch": True}).encode(),
        json.dumps(GOOD | {"primary_url": 7}).encode(),
        json.dumps(GOOD | {"primary_node": None}).encode(),
        json.dumps(GOOD).encode() + b" " * FILE_BYTES_MAX,
    ],
)
def test_a_damaged_file_is_told_and_never_guessed(tmp_path, content):
    (tmp_path / "role.json").write_bytes(content)
    with pytest.raises(SettingError, match=r"role\.json"):
        read_role(read_settings({}, data=tmp_path, role="primary"))


def fill(data):
    (data / "sqld" / "dbs").mkdir(parents=True)
    (data / "tenants").mkdir()
    for name in ("control.db", "control.db-wal", "vault.db", "keys"):
        (data / name).write_text(name)


def primary(epoch):
    return NodeRole(Role.PRIMARY, epoch, "", "")


def test_a_primary_that_becomes_an_edge_starts_without_its_databases(tmp_path):
    take_up(tmp_path, primary(2), now_ms=1)
    fill(tmp_path)
    aside = take_up(tmp_path, EDGE, now_ms=1_000)
    assert aside == tmp_path / "fenced-2-1000"
    names = sorted(path.name for path in (tmp_path / "fenced-2-1000").iterdir())
    assert names == ["control.db", "control.db-wal", "sqld", "tenants"]
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["fenced-2-1000", "keys", "started.json", "vault.db"]
    fill_again = tmp_path / "sqld"
    fill_again.mkdir()
    assert take_up(tmp_path, EDGE, now_ms=2_000) is None
    assert fill_again.exists()


@pytest.mark.parametrize(
    ("before", "after"),
    [(EDGE, primary(4)), (primary(2), primary(4)), (EDGE, EDGE), (None, EDGE), (None, primary(1))],
)
def test_every_other_change_keeps_the_databases(tmp_path, before, after):
    if before is not None:
        take_up(tmp_path, before, now_ms=1)
    fill(tmp_path)
    assert take_up(tmp_path, after, now_ms=2) is None
    assert (tmp_path / "sqld" / "dbs").is_dir()
    assert RoleFile(tmp_path, "started.json").read() == after


def test_a_power_cut_in_the_middle_leaves_the_rest_to_the_next_start(tmp_path, monkeypatch):
    take_up(tmp_path, primary(2), now_ms=1)
    fill(tmp_path)
    monkeypatch.setattr("edge.workers.role_folder.sync_folder", fail)
    with pytest.raises(OSError, match="power"):
        take_up(tmp_path, EDGE, now_ms=1_000)
    (tmp_path / "fenced-2-1000" / "tenants").rename(tmp_path / "tenants")
    monkeypatch.undo()
    assert take_up(tmp_path, EDGE, now_ms=2_000) == tmp_path / "fenced-2-2000"
    assert (tmp_path / "fenced-2-1000" / "sqld").is_dir()
    assert (tmp_path / "fenced-2-2000" / "tenants").is_dir()


def fail(_folder):
    raise OSError("power")


def test_only_the_newest_databases_set_aside_are_kept(tmp_path):
    for epoch in range(9, 15):
        take_up(tmp_path, primary(epoch), now_ms=epoch)
        (tmp_path / "sqld").mkdir()
        take_up(tmp_path, EDGE, now_ms=1_000 * epoch)
    assert [path.name for path in fenced(tmp_path)] == [
        "fenced-12-12000",
        "fenced-13-13000",
        "fenced-14-14000",
    ]
    assert len(fenced(tmp_path)) == KEPT_MAX
