"""Who is where in the story of two regions, and what they write while the primary is away."""

from __future__ import annotations

from dataclasses import dataclass

from story import ADA, BEN, CEM, HELGOLAND, SUMBURGH, Command, edit

DAN = "dan"
AMS, SYD = "ams", "syd"
REGIONS = (AMS, SYD)
PLACES = {ADA: AMS, BEN: AMS, CEM: SYD, DAN: SYD}
"""The region whose edge each phone is connected to."""
ROLES = {ADA: "lead", BEN: "inspector", CEM: "inspector", DAN: "inspector"}
NEW_PRIMARY = "edge-ams"
POKES = 5
"""Edits whose way from one region to the other is measured."""


@dataclass(frozen=True, slots=True)
class Doing:
    """What somebody writes while the primary is away: words for the story, and the command."""

    words: str
    command: Command


FIRST = {
    ADA: Doing("elevation 12 ft", edit(HELGOLAND, {"elevation_ft": 12})),
    CEM: Doing("elevation 8 ft", edit(HELGOLAND, {"elevation_ft": 8})),
}
"""Two regions write the same field of the same airfield; neither can know of the other."""

THEN = {
    BEN: Doing("one visit more", edit(HELGOLAND, {"visits": {"Add": [1]}})),
    DAN: Doing("two visits more", edit(HELGOLAND, {"visits": {"Add": [2]}})),
}
WRONG = {DAN: Doing("signs Sumburgh off", edit(SUMBURGH, {"status": "signed off"}))}
"""Accepted like anything else, but a rule says that only a lead does that."""
AWAY = (
    (FIRST, "the edges had to notice first"),
    (THEN, "they know by now"),
    (WRONG, "nobody judges it yet"),
)

WATCHED = "elevation_ft"
SEEN_AWAY = {
    AMS: {WATCHED: 12, "visits": POKES + 1},
    SYD: {WATCHED: 8, "visits": POKES + 2},
}
"""What both phones of a region show of Helgoland while the primary is away."""
MERGED = {WATCHED: 8, "visits": POKES + 3}
"""What all phones show of it afterwards: Cem's elevation is the later one, all visits count."""
REFUSED = "lead-only"
"""The refusal that Dan gets once the primary has judged what his edge had accepted."""
LAST: Command = edit(HELGOLAND, {"tags": {"AddElements": ["surveyed again"]}})
"""What Dan writes after the hand-over: from the other region, to the new primary."""
LAST_SEEN = {"tags": ["surveyed again"]}
