"""Field survey: inspectors visit airfields, mostly without a network, and their lead signs off.

`skerry serve examples/field_survey/app.py` serves it; the phones in this folder run on it too.
"""
# pyright: strict

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from core import (
    Access,
    Actor,
    AddWins,
    App,
    AppendOnly,
    BlobReference,
    BoundedCounter,
    Change,
    Collection,
    Counter,
    Custom,
    Derive,
    FirstWrite,
    Flag,
    Group,
    ListOrder,
    Lww,
    Map,
    Max,
    MultiValue,
    Operation,
    Ranked,
    Reference,
    Reject,
    RowId,
    Unique,
)

EVERYBODY = ("viewer", "inspector", "lead")
FIELD_STAFF = ("inspector", "lead")
LEAD = ("lead",)


@dataclass(frozen=True, slots=True)
class Point:
    """Degrees, WGS 84."""

    lat: float
    lon: float


def merge_lines(base: str | None, ours: str, theirs: str) -> str:
    """Merge two versions of a text by lines: what either added stays, what either removed goes."""
    old = (base or "").split("\n")
    kept, added = _edits(old, ours.split("\n"))
    their_kept, their_added = _edits(old, theirs.split("\n"))
    merged: list[str] = []
    for place in range(len(old) + 1):
        merged += added[place]
        merged += [line for line in their_added[place] if line not in added[place]]
        if place < len(old) and kept[place] and their_kept[place]:
            merged.append(old[place])
    return "\n".join(merged)


def _edits(old: list[str], new: list[str]) -> tuple[list[bool], list[list[str]]]:
    """Tell which old lines were kept, and which lines were added before each of them."""
    kept = [False] * len(old)
    added: list[list[str]] = [[] for _ in range(len(old) + 1)]
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    for tag, start, end, new_start, new_end in matcher.get_opcodes():
        if tag == "equal":
            kept[start:end] = [True] * (end - start)
        else:
            added[start] = new[new_start:new_end]
    return kept, added


class Airfield(Collection, space="region"):
    """One airfield; its id is its ICAO code."""

    access = Access(read=EVERYBODY, insert=LEAD, edit=FIELD_STAFF, delete=LEAD, restore=LEAD)

    name = Lww(str, write=LEAD)
    country = Lww(str, write=LEAD)
    elevation_ft = Lww.optional(int, low=-2_000, high=30_000)
    position = Group(Point)  # lat and lon move together
    status = Ranked("unseen", "visited", "signed off")
    visits = Counter()
    spares = BoundedCounter()  # never below zero, even offline
    tags = AddWins(str)
    remarks = MultiValue(str)  # a person resolves
    strongest_wind_kt = Max(int, low=0, high=250)
    surveyed_by = FirstWrite(str)
    needs_attention = Flag()
    frequencies = Map(str)  # "tower" -> "118.700"
    log = AppendOnly(str)
    description = Custom(str, merge_lines)
    photo = BlobReference()


class Finding(Collection, space="region"):
    """Something wrong at an airfield; its report number is unique within the region."""

    access = Access(
        read=EVERYBODY, insert=FIELD_STAFF, edit=FIELD_STAFF, delete=FIELD_STAFF, restore=LEAD
    )
    unique = (Unique(("report",)),)
    references = (Reference("airfield", "airfield", on_delete="cascade"),)

    airfield = Lww(str)
    report = Lww.optional(int, low=1)
    title = Lww(str)
    severity = Ranked("note", "minor", "severe")
    place = ListOrder()


app = App(
    "field_survey",
    version=1,
    spaces={"region": EVERYBODY},
    founders={"region": "lead"},  # whoever opens a region leads it
    managers={"region": LEAD},
)
app.add(Airfield, Finding)


@app.rule(Airfield)
def signing_off_needs_a_visit(
    actor: Actor, before: Airfield, change: Change[Airfield]
) -> Reject | None:
    """Only a lead signs an airfield off, and only after somebody was there."""
    if change.get(Airfield.status) != "signed off":
        return None
    if actor.role != "lead":
        return Reject("lead-only", "Only a lead signs an airfield off.", ("status",))
    if before.visits <= 0:
        return Reject("not-visited", "An airfield is signed off after a visit.", ("status",))
    return None


@app.rule(Finding)
def a_severe_finding_raises_the_flag(
    actor: Actor, before: Finding, change: Change[Finding]
) -> Derive | None:
    """Whoever reports something severe turns the airfield's attention flag on, and logs it."""
    airfield = change.get(Finding.airfield) or before.airfield
    if change.get(Finding.severity) != "severe" or not airfield:
        return None
    raised: dict[str, Any] = {
        "needs_attention": {"on": True},
        "log": {"append": [f"severe finding by {actor.person}"]},
    }
    edit = Change[Any]("airfield", RowId(airfield), Operation.EDIT, before.space_id, raised)
    return Derive((edit,))
