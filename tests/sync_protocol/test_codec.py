"""Messages: both media types carry the same, and hostile bytes end in typed errors in time."""

import time
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_protocol import codec, limits
from sync_protocol.errors import (
    MalformedMessage,
    MessageTooLarge,
    ProtocolError,
    UnknownMessage,
)
from sync_protocol.faults import FaultKind
from sync_protocol.media import Media
from sync_protocol.messages.page import Page
from sync_protocol.messages.poke import Poke
from sync_protocol.messages.provisional import Provisional, ProvisionalMutation
from sync_protocol.messages.push import Push, WireChange
from sync_protocol.messages.pushed import Conflict, Pushed, Receipt, Side
from sync_protocol.messages.union import ClientMessage, ServerMessage
from tests.sync_protocol.samples import CLIENT_SAMPLES, CURSOR, SERVER_SAMPLES, push

DECODE = {
    **dict.fromkeys(CLIENT_SAMPLES, codec.decode_client),
    **dict.fromkeys(SERVER_SAMPLES, codec.decode_server),
}
SAMPLES = {**CLIENT_SAMPLES, **SERVER_SAMPLES}
KINDS = st.sampled_from(sorted(SAMPLES))
MEDIA = st.sampled_from(list(Media))


def written(kind: str, media: Media) -> bytes:
    message = SAMPLES[kind]
    if kind == "push" and media is Media.JSON:
        opened = [msgspec.msgpack.decode(raw) for raw in message.mutations]
        raws = [msgspec.Raw(msgspec.json.encode(each)) for each in opened]
        message = msgspec.structs.replace(message, mutations=raws)
    return codec.encode(codec.with_rows_in(message, media), media)


def test_every_kind_has_a_sample_and_is_known():
    for union, samples, kinds in (
        (ClientMessage, CLIENT_SAMPLES, codec.CLIENT_KINDS),
        (ServerMessage, SERVER_SAMPLES, codec.SERVER_KINDS),
    ):
        tags = {each.__struct_config__.tag for each in get_args(union)}
        assert tags == set(samples) == kinds


@pytest.mark.parametrize("media", list(Media))
@pytest.mark.parametrize("kind", SAMPLES)
def test_messages_come_back_in_both_media(kind, media):
    body = written(kind, media)
    message = DECODE[kind](body, media)
    if kind == "push":
        assert codec.decode_mutations(message, media) == codec.decode_mutations(
            SAMPLES[kind], Media.MSGPACK
        )
    else:
        assert codec.with_rows_from(message, media) == SAMPLES[kind]
    assert codec.encode(message, media) == body


def read_all(kind: str, body: bytes, media: Media) -> None:
    message = DECODE[kind](body, media)
    if isinstance(message, Push):
        for mutation in codec.decode_mutations(message, media):
            codec.payload_hash(mutation)
    else:
        codec.with_rows_in(codec.with_rows_from(message, media), Media.JSON)


@given(kind=KINDS, media=MEDIA, data=st.data())
def test_damaged_messages_give_typed_errors(kind, media, data):
    body = bytearray(written(kind, media))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(body)))
        end = start + data.draw(st.sampled_from([0, 1, 1, 1, 2, 8]))
        body[start:end] = data.draw(st.binary(max_size=3))
    start_seconds = time.perf_counter()
    fault = None
    try:
        read_all(kind, bytes(body), media)
    except ProtocolError as error:
        fault = error.to_fault()
    assert fault is None or fault.fault in FaultKind
    assert time.perf_counter() - start_seconds < 1


@given(body=st.binary(max_size=200), kind=KINDS, media=MEDIA)
def test_noise_gives_typed_errors(body, kind, media):
    with pytest.raises(ProtocolError):
        read_all(kind, body, media)


@given(kind=KINDS, media=MEDIA, extra=st.sampled_from([b"\0", b"{}", b"x", b"\x80"]))
def test_trailing_bytes_are_malformed(kind, media, extra):
    with pytest.raises(MalformedMessage):
        DECODE[kind](written(kind, media) + extra, media)


@pytest.mark.parametrize("decode", [codec.decode_client, codec.decode_server])
@pytest.mark.parametrize("depth", [1_000, 100_000])
def test_deep_nesting_is_malformed(decode, depth):
    for body, media in (
        (b"\x91" * depth + b"\xc0", Media.MSGPACK),
        (b"\x82\xa4kind\xa4push\xa9mutations\x91" + b"\x91" * depth, Media.MSGPACK),
        (b"[" * depth + b"]" * depth, Media.JSON),
        (b'{"kind":"push","mutations":[' + b"[" * depth + b"]" * depth + b"]}", Media.JSON),
    ):
        with pytest.raises(ProtocolError):
            decode(body, media)


@pytest.mark.parametrize(
    "body",
    [
        b'{"kind":"pull","device":NaN,"schema_version":1}',
        b'{"kind":"pull","device":1e400,"schema_version":1}',
        b'{"kind":"pull","device":-Infinity,"schema_version":1}',
        b'{"kind":"pull","device":true,"schema_version":1}',
        b'{"kind":"pull","device":1.5,"schema_version":1}',
        b'{"kind":"pull","device":-1,"schema_version":1}',
        b'{"kind":"pull","device":4294967296,"schema_version":1}',
        b'{"kind":"pull","device":1,"schema_version":99999999999999999999999}',
        b'{"kind":"pull","device":1,"schema_version":1,"rows_max":10001}',
        b'{"kind":"pull","device":1,"schema_version":1,"rows_max":-1}',
        b'{"kind":"pull","device":1,"schema_version":1,"unknown":1}',
        b'{"kind":"pull","device":1}',
        b'{"kind":"hello","app":"\xff"}',
        b'{"kind":"repair","device":1,"schema_version":1,"space":"s","digests":{"c":["AAAA"]}}',
        b'{"kind":1}',
        b'{"device":1}',
        b"null",
        b"\xef\xbb\xbf{}",
    ],
)
def test_what_is_out_of_form_is_malformed(body):
    with pytest.raises(MalformedMessage):
        codec.decode_client(body, Media.JSON)


def test_unknown_kinds_are_named():
    for media, body in (
        (Media.JSON, b'{"kind":"shout","x":1}'),
        (Media.MSGPACK, b"\x81\xa4kind\xa5shout"),
    ):
        with pytest.raises(UnknownMessage, match="'shout'") as caught:
            codec.decode_client(body, media)
        assert caught.value.to_fault().fault == "unknown-message"


@pytest.mark.parametrize("kind", SERVER_SAMPLES)
def test_a_server_takes_no_server_messages(kind):
    with pytest.raises(UnknownMessage):
        codec.decode_client(written(kind, Media.MSGPACK))


def test_sizes_are_bounded_before_anything_is_read():
    with pytest.raises(MessageTooLarge):
        codec.decode_client(bytes(limits.MESSAGE_BYTES_MAX + 1))
    with pytest.raises(MessageTooLarge):
        codec.decode_server(bytes(11), bytes_max=10)


def test_a_push_has_a_bounded_number_of_mutations():
    raws = [msgspec.Raw(b"\xc0")] * (limits.MUTATIONS_PER_PUSH_MAX + 1)
    with pytest.raises(MalformedMessage):
        codec.decode_client(codec.encode(msgspec.structs.replace(push(), mutations=raws)))


def test_conflict_values_are_checked():
    body = codec.encode(SERVER_SAMPLES["pushed"]).replace(b"\xa1A", b"\xc4\x00")
    with pytest.raises(MalformedMessage, match="binary"):
        codec.decode_server(body)


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


def with_winner(value: object) -> Receipt:
    side = Side(value, 2, 3)
    conflict = Conflict("c", "r", "f", side, Side(None, 1, 2))
    return Receipt(4, "superseded", 43, conflicts=[conflict])


def with_loser(value: object) -> Receipt:
    side = Side(value, 2, 3)
    return Receipt(4, "superseded", 43, conflicts=[Conflict("c", "r", "f", Side(None, 1, 2), side)])


def shown(value: object) -> list[ProvisionalMutation]:
    return [ProvisionalMutation(3, 8, 1, [WireChange("c", "r", fields={"f": value})])]


HOLDERS = {
    "winner in pushed": lambda value: Pushed(5, 44, receipts=[with_winner(value)]),
    "loser in pushed": lambda value: Pushed(5, 44, receipts=[with_loser(value)]),
    "winner in page": lambda value: Page(CURSOR, more=True, receipts=[with_winner(value)]),
    "page": lambda value: Page(CURSOR, more=True, provisional=shown(value)),
    "poke": lambda value: Poke(1, 1, provisional=shown(value)),
    "provisional": lambda value: Provisional(shown(value)),
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_values_of_answers_nest_as_deep_as_the_limit_counted_from_the_message(holder):
    room = limits.NESTING_MAX - 6
    good = HOLDERS[holder](nested(room))
    assert codec.decode_server(codec.encode(good)) == good
    with pytest.raises(MalformedMessage, match="nested deeper"):
        codec.decode_server(codec.encode(HOLDERS[holder](nested(room + 1))))


@pytest.mark.parametrize("kind", ["pull", "pushed"])
def test_a_message_may_be_as_large_as_the_bound(kind):
    body = written(kind, Media.MSGPACK)
    assert DECODE[kind](body, bytes_max=len(body)) == SAMPLES[kind]
    with pytest.raises(MessageTooLarge, match=str(len(body) - 1)) as caught:
        DECODE[kind](body, bytes_max=len(body) - 1)
    assert caught.value.bytes_max == len(body) - 1


def test_an_unknown_message_keeps_its_name():
    with pytest.raises(UnknownMessage) as caught:
        codec.decode_server(b'{"kind":"pull"}', Media.JSON)
    assert caught.value.name == "pull"


@pytest.mark.parametrize(
    ("poke", "is_news"),
    [
        (Poke(4, 4), True),
        (Poke(4, 5), False),
        (Poke(4, 4, pull=True), False),
    ],
)
def test_a_poke_without_rows_is_news_unless_it_asks_to_pull(poke, is_news):
    assert poke.is_news is is_news


def test_a_server_s_message_may_hold_fields_that_a_phone_does_not_know():
    """Servers are updated before phones; what phones send has to be understood whole."""
    for sample in SERVER_SAMPLES.values():
        fields = msgspec.msgpack.decode(codec.encode(sample))
        assert codec.decode_server(msgspec.msgpack.encode({**fields, "newer": 1})) == sample
    for sample in CLIENT_SAMPLES.values():
        fields = msgspec.msgpack.decode(codec.encode(sample))
        with pytest.raises(MalformedMessage):
            codec.decode_client(msgspec.msgpack.encode({**fields, "newer": 1}))
