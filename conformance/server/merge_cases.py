"""Every kind of field through a server: the golden history, and the same in another order.

Two devices write what the golden vectors say they wrote, at the same distances in time. What a
third device reads must be the golden state, whichever device's push came first.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import msgspec

from conformance import vectors
from conformance.case import Case, expect
from conformance.server import known_app
from conformance.server.node import BEN, Node
from conformance.server.push_cases import outcomes
from conformance.server.raw_phone import RawPhone
from core.crdt.field import Write
from sync_protocol.messages.push import WireMutation

HOUR: Final = 3_600_000 << 12
GOLDEN: Final = (0, 1, 2, 3)
"""The order of the vectors' writes: device 2, device 3, device 2, device 3."""
SWAPPED: Final = {"multi_value": (1, 0, 2, 3)}
OTHERWISE: Final = (0, 2, 1, 3)
"""Another order in which nobody names what was not written yet."""
BY_VALUE: Final = {"first_write", "bounded_counter", "custom"}
"""Kinds whose state the primary has a hand in: its own clock, its leases, its resolutions."""


def merges() -> Iterator[Case[Node]]:
    """Yield one case for each kind of field."""
    for name in vectors.names():
        if name.startswith("merge_"):
            kind = name.removeprefix("merge_").removesuffix(".json")
            about = f"What two devices write to a {kind} is the golden state, in either order."
            yield Case(f"merge/{kind}", about, partial(_merged, kind=kind))


async def _merged(node: Node, *, kind: str) -> None:
    vector = vectors.read(f"merge_{kind}.json")
    field = known_app.Every.fields[kind]
    expect(f"the declaration of {kind}", field.describe(), vector["declared"])
    # The first to arrive is the original, because the primary's own clock stamps it.
    value = vector["folded"][-1]["value"]
    value = vector["writes"][0]["payload"] if kind == "first_write" else value
    for order in (GOLDEN, SWAPPED.get(kind, OTHERWISE)):
        reader, one, other = [await RawPhone.greeted(node, person=BEN) for _ in range(3)]
        two, three = sorted((one, other), key=lambda phone: phone.device)
        row, start = node.new_id(), node.clock() - HOUR
        await reader.push(
            reader.mutation(reader.change(row, "insert", collection="every"), h=start)
        )
        devices = {0: 0, 2: two.device, 3: three.device}
        expected = None
        for write in vector["writes"]:
            at = Write(start + write["h"], devices[write["n"]], write["counter"])
            payload = with_devices(write["payload"], devices)
            expected = field.merge(expected, field.delta(field.parse(payload), at))
        for index in order:
            write = vector["writes"][index]
            phone = two if write["n"] == 2 else three
            payload = with_devices(write["payload"], devices)
            change = phone.change(row, collection="every", **{kind: payload})
            mutation = WireMutation(write["counter"], start + write["h"], [change])
            found = outcomes(await phone.push(mutation)).get(write["counter"])
            what = f"the outcome of write {index} in the order {order}"
            expect(what, "merged" if found == "superseded" else found, "merged")
        state = (await reader.round()).state(row, "every").get(kind)
        expect(f"what a person sees after {order}", shown(field.value(state)), value)
        if kind not in BY_VALUE:
            expect(f"the state after {order}", state, expected)


def with_devices(payload: Any, devices: dict[int, int]) -> Any:  # noqa: ANN401  (a payload)
    """Put real numbers in the place of the vectors' devices in a payload's dots."""
    if not isinstance(payload, dict):
        return payload

    def placed(dots: list[list[int]]) -> list[list[int]]:
        return [[devices[n], counter] for n, counter in dots]

    changed = dict(payload)
    for name in ("seen", "off"):
        if name in payload:
            changed[name] = placed(payload[name])
    if isinstance(payload.get("remove"), dict):
        changed["remove"] = {key: placed(dots) for key, dots in payload["remove"].items()}
    return changed


def shown(value: object) -> Any:  # noqa: ANN401  (JSON)
    """Return what a person sees as JSON; sets are sorted."""
    return msgspec.json.decode(msgspec.json.encode(value, order="deterministic"))
