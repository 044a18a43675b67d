"""Mutations inside a push, each decoded by itself."""

from __future__ import annotations

import json
from collections.abc import Iterator

import msgspec

from core.ids import INTEGER_MAX
from sync_protocol.media import Media
from sync_protocol.messages.push import Push, WireChange, WireMutation
from sync_protocol.mutations import (
    REASON_CHARACTERS_MAX,
    Malformed,
    decode_mutations,
    payload_hash,
)
from tests.fuzz.plain import require_plain
from tests.fuzz.target import Target
from tests.fuzz.targets.messages import VECTORS, other_of
from tests.vectors.payloads import HISTORIES

GOOD = WireMutation(7, 1, [WireChange("c", "r", fields={"f": 1.5})])
LAST = WireMutation(INTEGER_MAX, 1, [WireChange("c", "r")])
HASH_BYTES = 8
_ENCODE = {Media.MSGPACK: msgspec.msgpack.encode, Media.JSON: msgspec.json.encode}


def run(raw: bytes) -> None:
    """One mutation between two good ones.

    Invariant: the good ones are read as they are whatever stands between them; the one between is
    a mutation with plain payloads and the same hash in both media types, or Malformed with a
    counter that a receipt can carry and a bounded reason.
    Errors: none.
    """
    for media in Media:
        good, last = (msgspec.Raw(_ENCODE[media](each)) for each in (GOOD, LAST))
        push = Push(2, 1, 1, [good, msgspec.Raw(raw), last, msgspec.Raw(raw)])
        first, between, third, after_last = decode_mutations(push, media)
        assert (first, third) == (GOOD, LAST)
        for each in (between, after_last):
            assert len(payload_hash(each)) == HASH_BYTES
            assert each.counter is None or 1 <= each.counter <= INTEGER_MAX
        if isinstance(between, Malformed):
            assert len(between.reason) <= REASON_CHARACTERS_MAX
            between.reason.encode()
        else:
            _require_same(between, media)


def _require_same(mutation: WireMutation, media: Media) -> None:
    for change in mutation.changes:
        require_plain([change.fields, change.base])
    for each in (media, other_of(media)):
        push = Push(2, 1, 1, [msgspec.Raw(_ENCODE[each](mutation))])
        (again,) = decode_mutations(push, each)
        assert payload_hash(again) == payload_hash(mutation)


def seeds() -> Iterator[bytes]:
    """The vectors' mutations, good and bad, and one with a payload of every kind."""
    transcripts = json.loads((VECTORS / "transcripts.json").read_text("utf-8"))
    faults = json.loads((VECTORS / "faults.json").read_text("utf-8"))
    made = [each["mutation"] for each in transcripts["payload_hashes"]]
    made += [each["json"] for each in faults["mutations"]]
    for kind, history in HISTORIES.items():
        fields = {f"{kind}_{index}": write[3] for index, write in enumerate(history)}
        made.append(
            {"counter": 8, "h": 2, "changes": [{"collection": "c", "id": "r", "fields": fields}]}
        )
    for each in made:
        yield msgspec.msgpack.encode(each)
        yield msgspec.json.encode(each)


TARGETS = (Target("mutations", run, seeds, bytes_max=4_096, is_tree=True),)
