"""The committed vectors are what the implementation computes, read back from the files alone."""

import json

import pytest

from conformance.forms import in_json
from conformance.vectors import names, read
from core.clock import effective, measured_skew, pack
from core.crdt.registry import FIELD_TYPES, SAMPLES
from sync_protocol import codec, digest
from sync_protocol.errors import ProtocolError
from sync_protocol.faults import FaultKind
from sync_protocol.media import Media
from sync_protocol.rows import decode_row, encode_row
from tests.vectors.generate import FOLDER, vectors, written

NAMES = names()


def test_files_are_those_that_would_be_written():
    assert sorted(vectors()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_as_it_would_be_written(name):
    fresh = written(vectors()[name])
    assert (FOLDER / name).read_bytes() == fresh, "run `make vectors`, and say why it changed"


@pytest.mark.parametrize("kind", sorted(FIELD_TYPES))
def test_merges(kind):
    field, vector = SAMPLES[kind](), read(f"merge_{kind}.json")
    assert field.describe() == vector["declared"]
    for each in vector["pairs"]:
        assert field.merge(each["left"], each["right"]) == each["merged"]
    state = None
    for write, folded in zip(vector["writes"], vector["folded"], strict=True):
        state = field.merge(state, write["delta"])
        assert state == folded["state"]
    assert len({json.dumps(folded["state"]) for folded in vector["folded"]}) > 1


def test_clock():
    vector = read("clock.json")
    for each in vector["pack"]:
        assert pack(unix_ms=each["unix_ms"], counter=each["counter"]) == each["h"]
    for each in vector["effective"]:
        expected = each.pop("effective")
        assert effective(**each) == expected
    for each in vector["skew"]:
        expected = each.pop("skew")
        assert measured_skew(**each) == expected


def test_digests():
    total = digest.DigestSum()
    for each in read("digest.json")["rows"]:
        row = bytes.fromhex(each["canonical"])
        row_id, alive, fields = each["row"]
        assert encode_row(row_id, alive, fields) == row
        assert decode_row(row) == (row_id, tuple(alive), fields)
        if alive[2]:
            total.add(row)
        assert bytes(total).hex() == each["space_digest_so_far"]
        assert digest.bucket_of(row_id) == each["bucket"]


def test_transcripts_say_the_same_in_both_media():
    for scene in read("transcripts.json")["scenes"].values():
        for line in scene:
            decode = codec.decode_client if line["from"] == "client" else codec.decode_server
            message = decode(bytes.fromhex(line["msgpack"]))
            assert in_json(message) == line["json"]
            decode(json.dumps(line["json"]).encode(), Media.JSON)


def test_faults():
    vector = read("faults.json")
    assert set(vector["reactions"]) == set(FaultKind)
    for each in vector["bodies"].values():
        with pytest.raises(ProtocolError) as caught:
            codec.decode_client(each["json"].encode(), Media.JSON)
        assert caught.value.kind == each["fault"]
