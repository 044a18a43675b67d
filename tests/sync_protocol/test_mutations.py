"""Mutations are read one by one: a bad one is named, and the ones behind it are taken."""

from hashlib import blake2b

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_protocol import limits
from sync_protocol.media import Media
from sync_protocol.messages.push import Push, WireChange, WireMutation
from sync_protocol.mutations import Malformed, decode_mutations, payload_hash
from tests.sync_protocol.samples import H, mutation
from tests.sync_protocol.test_rows import JSON


def raw(value: object, media: Media = Media.MSGPACK) -> msgspec.Raw:
    module = msgspec.msgpack if media is Media.MSGPACK else msgspec.json
    return msgspec.Raw(module.encode(value))


def pushed(*raws: msgspec.Raw) -> Push:
    return Push(2, H, 1, list(raws))


@given(payload=JSON, media=st.sampled_from(list(Media)))
def test_both_media_give_the_same_mutation_and_hash(payload, media):
    sent = WireMutation(1, H, [WireChange("c", "r", fields={"f": payload})])
    (received,) = decode_mutations(pushed(raw(sent, media)), media)
    assert received == sent
    assert payload_hash(received) == payload_hash(sent)


def test_hashes_do_not_depend_on_key_order_or_written_out_defaults():
    plain = {
        "counter": 1,
        "h": 5,
        "changes": [{"collection": "c", "id": "r", "fields": {"a": 1, "b": 2}}],
    }
    change = {"seen": 0, "op": "edit", "id": "r", "fields": {"b": 2, "a": 1}, "collection": "c"}
    wordy = {"changes": [change], "h": 5, "counter": 1}
    one, two = decode_mutations(pushed(raw(plain), raw(wordy)), Media.MSGPACK)
    assert payload_hash(one) == payload_hash(two)
    assert len(payload_hash(one)) == 8


def test_any_difference_changes_the_hash():
    hashes = {
        payload_hash(each)
        for each in (mutation(1), mutation(2), mutation(1, "x"), mutation(1, "y"))
    }
    assert len(hashes) == 4


BAD = {
    "a number": 7,
    "nothing": None,
    "no changes": {"counter": 2, "h": 1, "changes": []},
    "unknown field": {"counter": 2, "h": 1, "changes": [], "x": 1},
    "unknown operation": {
        "counter": 2,
        "h": 1,
        "changes": [{"collection": "c", "id": "r", "op": "?"}],
    },
    "clock out of range": {"counter": 2, "h": 2**53, "changes": [{"collection": "c", "id": "r"}]},
    "id missing": {"counter": 2, "h": 1, "changes": [{"collection": "c"}]},
    "big integer": {
        "counter": 2,
        "h": 1,
        "changes": [{"collection": "c", "id": "r", "fields": {"f": 2**60}}],
    },
    "too many fields": {
        "counter": 2,
        "h": 1,
        "changes": [{"collection": "c", "id": "r", "fields": {f"f{i}": 1 for i in range(101)}}],
    },
    "too many changes": {
        "counter": 2,
        "h": 1,
        "changes": [{"collection": "c", "id": "r"}] * (limits.CHANGES_PER_MUTATION_MAX + 1),
    },
}


@pytest.mark.parametrize("media", list(Media))
@pytest.mark.parametrize("name", BAD)
def test_a_bad_mutation_is_isolated(name, media):
    good = [raw(mutation(counter), media) for counter in (1, 3)]
    first, bad, last = decode_mutations(pushed(good[0], raw(BAD[name], media), good[1]), media)
    assert first == mutation(1)
    assert last == mutation(3)
    assert isinstance(bad, Malformed)
    assert bad.counter == 2
    assert bad.reason
    assert len(payload_hash(bad)) == 8


def test_malformed_mutations_hash_alike_in_both_media():
    (one,) = decode_mutations(pushed(raw(BAD["unknown field"])), Media.MSGPACK)
    (two,) = decode_mutations(pushed(raw(BAD["unknown field"], Media.JSON)), Media.JSON)
    assert payload_hash(one) == payload_hash(two)


@pytest.mark.parametrize(
    "value", [b"binary", float("nan"), {1: 2}, msgspec.msgpack.Ext(-1, bytes(4))]
)
def test_what_json_cannot_hold_is_malformed(value):
    change = {"collection": "c", "id": "r", "fields": {"f": [value]}}
    (bad,) = decode_mutations(
        pushed(raw({"counter": 9, "h": 1, "changes": [change]})), Media.MSGPACK
    )
    assert isinstance(bad, Malformed)
    assert bad.counter == 9


def test_deep_payloads_are_malformed():
    deep: object = 1
    for _ in range(40):
        deep = [deep]
    change = {"collection": "c", "id": "r", "fields": {"f": deep}}
    (bad,) = decode_mutations(
        pushed(raw({"counter": 9, "h": 1, "changes": [change]})), Media.MSGPACK
    )
    assert isinstance(bad, Malformed)
    assert "nested deeper" in bad.reason


def test_without_a_readable_counter_the_first_one_stays_unknown():
    first, second = decode_mutations(pushed(raw(None), raw({"counter": -1})), Media.MSGPACK)
    assert (first.counter, second.counter) == (None, None)


def test_after_the_last_counter_there_is_no_next_one():
    _, unreadable = decode_mutations(pushed(raw({"counter": 2**53 - 1}), raw(None)), Media.MSGPACK)
    assert unreadable.counter is None, "a receipt could not carry it"


def with_payload(payload):
    change = {"collection": "c", "id": "r", "fields": {"f": payload}}
    return raw({"counter": 9, "h": 1, "changes": [change]})


def test_payloads_nest_as_deep_as_the_limit_counted_from_the_mutation():
    def nested(depth):
        value: object = 1
        for _ in range(depth):
            value = [value]
        return value

    room = limits.NESTING_MAX - 5
    good, bad = decode_mutations(
        pushed(with_payload(nested(room)), with_payload(nested(room + 1))), Media.MSGPACK
    )
    assert isinstance(good, WireMutation)
    assert isinstance(bad, Malformed)


def test_what_cannot_be_read_at_all_is_hashed_as_it_came():
    broken = bytes(with_payload("text")).replace(b"text", b"t\xff\xff\xfe")
    one, two = decode_mutations(pushed(msgspec.Raw(broken), raw(mutation(3))), Media.MSGPACK)
    assert isinstance(one, Malformed)
    assert one.content == broken
    assert payload_hash(one) == blake2b(broken, digest_size=8).digest()
    assert two == mutation(3)


def test_a_malformed_mutation_is_hashed_by_its_content():
    (bad,) = decode_mutations(pushed(raw({"counter": 2, "a": 1})), Media.MSGPACK)
    assert isinstance(bad, Malformed)
    content = msgspec.msgpack.encode({"a": 1, "counter": 2})
    assert (bad.content, payload_hash(bad)) == (content, blake2b(content, digest_size=8).digest())
