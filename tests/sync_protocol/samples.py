"""One or more messages of every kind, with every field used at least once."""

import msgspec

from sync_protocol.codec import encode_space_rows
from sync_protocol.faults import FaultKind
from sync_protocol.messages.cursor import Backfill, Cursor
from sync_protocol.messages.fault import Fault
from sync_protocol.messages.hello import Hello
from sync_protocol.messages.page import Checkpoint, Gained, Page, Rows
from sync_protocol.messages.poke import Poke
from sync_protocol.messages.provisional import Provisional, ProvisionalMutation
from sync_protocol.messages.pull import Pull
from sync_protocol.messages.push import Push, WireChange, WireMutation
from sync_protocol.messages.pushed import Conflict, Pushed, Receipt, Side
from sync_protocol.messages.repair import Repair
from sync_protocol.messages.repaired import DamagedBucket, Repaired
from sync_protocol.messages.welcome import Welcome
from sync_protocol.rows import encode_row

H = 372_000_000_000_000
DATABASE = "01j0database00000000000000"
ROW = "01j0row0000000000000000000"
FIELDS = {
    "name": [H, 2, "Kjerag"],
    "position": [H + 1, 3, {"lat": 59.03, "lon": 6.58}],
    "visits": [0, 3],
    "tags": [["cliff", 2, 1, 0], ["røyk", 3, 2, 2]],
    "gone": None,
}
ALIVE = (H, 2, True)
CANONICAL_ROW = encode_row(ROW, ALIVE, FIELDS)
DIGEST = bytes(range(16))
CURSOR = Cursor(DATABASE, 41, Backfill(40, 12))


def mutation(counter: int = 1, name: str = "Kjerag") -> WireMutation:
    return WireMutation(
        counter,
        H + counter,
        [
            WireChange("airfield", ROW, "insert", space="region-1", fields={"name": name}),
            WireChange("airfield", ROW, fields={"visits": {"add": 1}}, base={"name": H}, seen=H),
        ],
    )


def push(*mutations: WireMutation) -> Push:
    return Push(2, H, 1, [msgspec.Raw(msgspec.msgpack.encode(each)) for each in mutations])


def space_rows() -> msgspec.Raw:
    row = msgspec.Raw(CANONICAL_ROW)
    return encode_space_rows("region-1", {"airfield": Rows([40], [row], [DIGEST])})


CONFLICT = Conflict("airfield", ROW, "name", Side("A", H + 2, 3), Side(None, H + 1, 2))
RECEIPTS = [
    Receipt(4, "superseded", 43, H, conflicts=[CONFLICT]),
    Receipt(5, "rejected", 44, H, "not-visited", "Visit it first.", ["status"]),
    Receipt(6, "accepted", 0),
]

PROVISIONAL = ProvisionalMutation(3, 8, H + 8, mutation(8).changes)

CLIENT_SAMPLES = {
    "hello": Hello(1, "survey", 1, "0123456789abcdef", "01j0installation", H, 3, CURSOR),
    "push": push(mutation(1), mutation(2, "Preikestolen")),
    "pull": Pull(2, 1, CURSOR, 100, 4, 44),
    "repair": Repair(2, 1, "region-1", {"airfield": [DIGEST] * 16}),
}
SERVER_SAMPLES = {
    "welcome": Welcome(
        1,
        2,
        DATABASE,
        44,
        1,
        "0123456789abcdef",
        H,
        "replay",
        3,
        -20_480,
        43,
        stale=True,
        replaced=["former"],
    ),
    "pushed": Pushed(5, 44, [(1, 3, 42)], RECEIPTS, -20_480, 43, DATABASE),
    "page": Page(
        CURSOR,
        more=False,
        reset=True,
        gained=[Gained("region-1", "region", "surveyor")],
        lost=["region-2"],
        spaces=[space_rows()],
        merged_through=5,
        merged=[(1, 3, 42)],
        receipts=RECEIPTS,
        horizon=7,
        remaining=12,
        checkpoint=Checkpoint(44, {"region-1": DIGEST}),
        replicated=43,
        stale=True,
        provisional=[PROVISIONAL],
    ),
    "repaired": Repaired("region-1", 44, [DamagedBucket("airfield", 3)], space_rows(), DIGEST),
    "poke": Poke(
        44,
        45,
        pull=False,
        spaces=[space_rows()],
        digests={"r": DIGEST},
        merged_through=5,
        replicated=44,
        provisional=[],
    ),
    "provisional": Provisional([PROVISIONAL]),
    "fault": Fault(FaultKind.COUNTER_GAP, "There is a gap.", 500, "push", 3),
}
