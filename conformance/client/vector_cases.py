"""Golden vectors, asked of an adapter: pure functions, one request for each.

Each group is a capability; `merge` covers one group for each kind of field.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from conformance import vectors
from conformance.case import Case, CaseList, expect
from conformance.client.adapter import Adapter
from conformance.client.declared import DECLARATION
from sync_protocol.fingerprint import fingerprint_of

clock: Final = CaseList[Adapter]("clock", needs="clock")
rebase: Final = CaseList[Adapter]("rebase", needs="rebase")
rows: Final = CaseList[Adapter]("rows", needs="rows")
digest: Final = CaseList[Adapter]("digest", needs="digest")
mutations: Final = CaseList[Adapter]("hash", needs="hash")
faults: Final = CaseList[Adapter]("faults", needs="faults")
schema: Final = CaseList[Adapter]("fingerprint", needs="fingerprint")


@clock("pack")
async def _pack(adapter: Adapter) -> None:
    """Milliseconds and a counter in 53 bits."""
    for each in vectors.read("clock.json")["pack"]:
        got = await adapter.ask("clock.pack", unix_ms=each["unix_ms"], counter=each["counter"])
        expect(f"clock.pack of {each['unix_ms']}, {each['counter']}", got, each["h"])


@clock("ticks")
async def _ticks(adapter: Adapter) -> None:
    """A clock that never goes back, whatever the wall clock does, and notes what it sees."""
    vector = vectors.read("clock.json")
    steps = [{"now_unix_ms": each["now_unix_ms"]} for each in vector["ticks"]]
    steps.insert(-1, {"observe": vector["observed_before_last_tick"]})
    got = await adapter.ask("clock.ticks", steps=steps)
    expect("clock.ticks", got, [each["h"] for each in vector["ticks"]])


@rebase("skew")
async def _skew(adapter: Adapter) -> None:
    """How far a device's clock runs ahead; nothing within five seconds."""
    for each in vectors.read("clock.json")["skew"]:
        expected = each.pop("skew")
        expect(f"clock.skew of {each}", await adapter.ask("clock.skew", **each), expected)


@rebase("effective")
async def _effective(adapter: Adapter) -> None:
    """What a server makes of a device's stamp."""
    for each in vectors.read("clock.json")["effective"]:
        expected = each.pop("effective")
        got = await adapter.ask("clock.effective", **each)
        expect(f"clock.effective of {each}", got, expected)


@rows("encode")
async def _encode_row(adapter: Adapter) -> None:
    """Canonical bytes of a row; 1.0 and 1 are different."""
    for each in vectors.read("digest.json")["rows"]:
        got = await adapter.ask("row.encode", row=each["row"])
        expect(f"row.encode of {json.dumps(each['row'])}", got, each["canonical"])


@rows("decode")
async def _decode_row(adapter: Adapter) -> None:
    """A row out of its canonical bytes."""
    for each in vectors.read("digest.json")["rows"]:
        got = await adapter.ask("row.decode", canonical=each["canonical"])
        expect(f"row.decode of {each['canonical']}", got, each["row"])


@digest("row")
async def _row_digest(adapter: Adapter) -> None:
    """BLAKE2b with 16 bytes over canonical bytes."""
    for each in vectors.read("digest.json")["rows"]:
        got = await adapter.ask("digest.row", canonical=each["canonical"])
        expect(f"digest.row of {each['canonical']}", got, each["digest"])


@digest("bucket")
async def _bucket(adapter: Adapter) -> None:
    """CRC-32 of the id modulo 16."""
    for each in vectors.read("digest.json")["rows"]:
        got = await adapter.ask("digest.bucket", row=each["row"][0])
        expect(f"digest.bucket of {each['row'][0]}", got, each["bucket"])


@digest("space")
async def _space_digest(adapter: Adapter) -> None:
    """The sum of living rows' digests modulo 2^128."""
    listed: list[dict[str, Any]] = []
    for each in vectors.read("digest.json")["rows"]:
        listed.append({"canonical": each["canonical"], "alive": each["row"][1][2]})
        got = await adapter.ask("digest.space", rows=listed)
        expect(f"digest.space of {len(listed)} rows", got, each["space_digest_so_far"])


@mutations("payload")
async def _payload_hash(adapter: Adapter) -> None:
    """Eight bytes of BLAKE2b over a mutation in canonical MessagePack."""
    for each in vectors.read("transcripts.json")["payload_hashes"]:
        got = await adapter.ask("hash.payload", mutation=each["mutation"])
        expect(f"hash.payload of counter {each['mutation']['counter']}", got, each["hash"])


@faults("reactions")
async def _reactions(adapter: Adapter) -> None:
    """What a device does about each kind of fault, and whether the stream goes on."""
    for kind, reaction in vectors.read("faults.json")["reactions"].items():
        expect(
            f"fault.reaction to {kind}", await adapter.ask("fault.reaction", fault=kind), reaction
        )


@faults("backoff")
async def _backoff(adapter: Adapter) -> None:
    """Full jitter, doubling from 500 ms to 60 s."""
    for each in vectors.read("faults.json")["backoff_ms"]:
        got = await adapter.ask("fault.backoff", attempt=each["attempt"], jitter=each["jitter"])
        what = f"fault.backoff of attempt {each['attempt']} with jitter {each['jitter']}"
        expect(what, got, each["delay_ms"])


@schema("declaration")
async def _fingerprint(adapter: Adapter) -> None:
    """Sixteen hexadecimal characters over a declaration, keys sorted, no spaces."""
    got = await adapter.ask("fingerprint", declaration=DECLARATION)
    expect("fingerprint", got, fingerprint_of(DECLARATION))


def merges() -> Iterator[Case[Adapter]]:
    """Yield the cases of each kind of field, and of ties."""
    for name in vectors.names():
        if name.startswith("merge_"):
            kind = name.removeprefix("merge_").removesuffix(".json")
            yield from _merges_of(kind, vectors.read(name))
    ties = vectors.read("ties.json")

    async def registers(adapter: Adapter) -> None:
        declared = vectors.read("merge_lww.json")["declared"]
        await _pairs(adapter, "lww", declared, ties["registers"])

    async def alive(adapter: Adapter) -> None:
        pairs = [[each["left"], each["right"]] for each in ties["alive"]]
        _each_pair(await adapter.ask("merge.alive", pairs=pairs), ties["alive"])

    yield Case("merge/ties-of-registers", "Equal clock values: larger n.", registers, "merge.lww")
    yield Case(
        "merge/alive", "The alive register; one same stamp: dead wins.", alive, "merge.alive"
    )


def _merges_of(kind: str, vector: dict[str, Any]) -> Iterator[Case[Adapter]]:
    async def pairs(adapter: Adapter) -> None:
        await _pairs(adapter, kind, vector["declared"], vector["pairs"])

    async def fold(adapter: Adapter) -> None:
        writes = [
            {name: write[name] for name in ("h", "n", "counter", "payload")}
            for write in vector["writes"]
        ]
        got = await adapter.ask("merge.fold", kind=kind, declared=vector["declared"], writes=writes)
        expected = [
            {"delta": write["delta"], **folded}
            for write, folded in zip(vector["writes"], vector["folded"], strict=True)
        ]
        for index, each in enumerate(expected):
            one = got[index] if isinstance(got, list) and index < len(got) else None
            expect(f"step {index} of merge.fold of {kind}", one, each)

    yield Case(f"merge/{kind}-pairs", f"Two states of {kind} into one.", pairs, f"merge.{kind}")
    yield Case(
        f"merge/{kind}-fold",
        f"Payloads of {kind} to deltas, states and what a person sees.",
        fold,
        f"merge.{kind}",
    )


async def _pairs(adapter: Adapter, kind: str, declared: Any, listed: list[Any]) -> None:  # noqa: ANN401
    pairs = [[each["left"], each["right"]] for each in listed]
    got = await adapter.ask("merge.pairs", kind=kind, declared=declared, pairs=pairs)
    _each_pair(got, listed)


def _each_pair(got: Any, listed: list[Any]) -> None:  # noqa: ANN401  (whatever an adapter says)
    expect("the number of merged pairs", len(got) if isinstance(got, list) else got, len(listed))
    for merged, each in zip(got, listed, strict=True):
        expect(f"merge of {each['left']} and {each['right']}", merged, each["merged"])
