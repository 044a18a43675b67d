"""Packed files come back as they were, or not at all."""

import os

import pytest

from edge.gateways.packing import CHUNK_BYTES, MAGIC, FilePacker, read_key
from edge.ports.backups import BackupDamaged

KEY = bytes(range(32))


def packed(tmp_path, content, key: bytes | None = KEY, name="a/b.db"):
    (tmp_path / "plain").write_bytes(content)
    (tmp_path / "packed").unlink(missing_ok=True)
    FilePacker(key).pack(tmp_path / "plain", tmp_path / "packed", name=name)
    return tmp_path / "packed"


def unpacked(tmp_path, size_bytes, key: bytes | None = KEY, name="a/b.db"):
    (tmp_path / "back").unlink(missing_ok=True)
    FilePacker(key).unpack(tmp_path / "packed", tmp_path / "back", name=name, size_bytes=size_bytes)
    return (tmp_path / "back").read_bytes()


@pytest.mark.parametrize("key", [None, KEY], ids=["open", "sealed"])
@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, 3 * CHUNK_BYTES + 5])
def test_it_comes_back_as_it_was(tmp_path, key, size):
    content = os.urandom(size)
    packed(tmp_path, content, key)
    assert unpacked(tmp_path, size, key) == content


def test_text_is_compressed_and_what_is_sealed_cannot_be_read(tmp_path):
    content = b"a name that must not be seen " * 1_000
    sealed = packed(tmp_path, content).read_bytes()
    assert sealed.startswith(MAGIC)
    assert b"must not" not in sealed
    assert len(sealed) < len(content) / 10
    assert packed(tmp_path, content).read_bytes() != sealed


@pytest.mark.parametrize("at", [0, 10, 30, -1])
def test_a_changed_byte_is_noticed(tmp_path, at):
    content = os.urandom(2 * CHUNK_BYTES)
    path = packed(tmp_path, content)
    changed = bytearray(path.read_bytes())
    changed[at] ^= 1
    path.write_bytes(changed)
    with pytest.raises(BackupDamaged):
        unpacked(tmp_path, len(content))


def test_chunks_cannot_be_cut_off_or_swapped(tmp_path):
    content = os.urandom(2 * CHUNK_BYTES)
    path = packed(tmp_path, content)
    whole = path.read_bytes()
    head, first = len(MAGIC) + 16, CHUNK_BYTES + 16
    one, two, rest = (
        whole[head : head + first],
        whole[head + first : head + 2 * first],
        whole[head + 2 * first :],
    )
    for changed in (one, one + two, two + one + rest, one + one + rest):
        path.write_bytes(whole[:head] + changed)
        with pytest.raises(BackupDamaged):
            unpacked(tmp_path, len(content))


@pytest.mark.parametrize(
    "wrong", [{"key": bytes(32)}, {"key": None}, {"name": "a/c.db"}], ids=["key", "open", "name"]
)
def test_another_key_or_name_opens_nothing(tmp_path, wrong):
    packed(tmp_path, b"content")
    with pytest.raises(BackupDamaged):
        unpacked(tmp_path, 7, **wrong)


def test_more_than_was_packed_is_not_written(tmp_path):
    packed(tmp_path, bytes(50 * CHUNK_BYTES), None)
    with pytest.raises(BackupDamaged):
        unpacked(tmp_path, CHUNK_BYTES, None)
    assert (tmp_path / "back").stat().st_size <= CHUNK_BYTES


def test_keys_are_32_bytes_or_their_digits(tmp_path):
    path = tmp_path / "key"
    for content in (KEY, KEY.hex().encode() + b"\n"):
        path.write_bytes(content)
        assert read_key(path) == KEY
    for content in (b"", b"short", KEY.hex().encode()[:-2]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="32 bytes"):
            read_key(path)
