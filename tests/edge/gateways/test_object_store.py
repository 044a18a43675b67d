"""Objects in a folder and in S3 behave alike; what can fail fails in our own words."""

import asyncio
import os
import stat

import pytest

from edge.errors import NotFound, Unavailable
from edge.gateways.object_store import PART_BYTES, open_store
from edge.ports.backups import BackupDamaged
from tests.edge.gateways.s3_server import BUCKET, s3_server


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    with s3_server(tmp_path_factory.mktemp("s3")) as environment:
        yield environment


@pytest.fixture(params=["folder", "s3"])
def store(request, tmp_path):
    if request.param == "folder":
        return open_store(str(tmp_path / "store"), {})
    environment = request.getfixturevalue("s3")
    return open_store(f"s3://{BUCKET}/{tmp_path.name}", environment)


def a_file(tmp_path, content):
    path = tmp_path / "source"
    path.write_bytes(content)
    return path


async def test_what_was_put_comes_back_in_parts_and_whole(store, tmp_path):
    content = os.urandom(2 * PART_BYTES + 17)
    await store.put("a/large", a_file(tmp_path, content))
    await store.download("a/large", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == content
    assert stat.S_IMODE((tmp_path / "back").stat().st_mode) == 0o600


async def test_objects_are_listed_below_a_prefix_and_deleted(store):
    paths = ["a/1", "a/2/3", "b/1"]
    await asyncio.gather(*(store.put_bytes(path, path.encode()) for path in paths))
    listed = await store.list("a")
    assert [(found.path, found.size_bytes) for found in listed] == [("a/1", 3), ("a/2/3", 5)]
    assert all(found.changed_ms > 1_600_000_000_000 for found in listed)
    await store.delete(["a/1", "a/2/3"])
    await store.delete(["a/1"])
    assert await store.list("a") == []
    assert await store.get("b/1", bytes_max=3) == b"b/1"


async def test_an_object_that_is_missing_or_too_large_is_said_so(store, tmp_path):
    with pytest.raises(NotFound):
        await store.get("nothing", bytes_max=1)
    with pytest.raises(NotFound):
        await store.download("nothing", tmp_path / "back")
    await store.put_bytes("four", b"1234")
    with pytest.raises(BackupDamaged):
        await store.get("four", bytes_max=3)


async def test_a_folder_s_objects_are_for_their_owner_alone(tmp_path):
    (tmp_path / "store").mkdir(mode=0o755)
    store = open_store(f"file://{tmp_path}/store", {})
    await store.put("backups/x/files/keys/k.pem", a_file(tmp_path, b"secret"))
    path = tmp_path / "store" / "backups"
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE((path / "x/files/keys/k.pem").stat().st_mode) == 0o600


async def test_a_server_that_is_away_is_unavailable(tmp_path, monkeypatch):
    monkeypatch.setattr("edge.gateways.object_store.RETRIES_MAX", 0)
    away = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "a"}
    store = open_store("s3://bucket/prefix", {**away, "AWS_SECRET_ACCESS_KEY": "secret-7c1f"})
    with pytest.raises(Unavailable) as refused:
        await store.put_bytes("a", b"a")
    assert "secret-7c1f" not in refused.value.message


@pytest.mark.parametrize(
    "target", ["s3://", "s3://key:secret@bucket/x", "s3://b/p?region=x", "ftp://host/x", "gs://b"]
)
def test_other_targets_are_refused(target):
    with pytest.raises(ValueError, match=r"expected|write s3"):
        open_store(target, {})
