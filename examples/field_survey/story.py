"""What the three phones do while they are offline: one scene for each kind of merge.

A scene names what is being watched (a field of a row) and what each person does to it, as commands
for `phone.py`. Nobody has heard of the others' doing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core.crdt.list_order import between

SPACE = "region:europe"
HELGOLAND, SUMBURGH, SVALBARD, BERGEN = "EDXH", "EGPB", "ENSB", "ENBR"
AIRFIELDS = (HELGOLAND, SUMBURGH, SVALBARD, BERGEN)
ADA, BEN, CEM = "ada", "ben", "cem"
ROLES = {ADA: "lead", BEN: "inspector", CEM: "inspector"}
VISITS_BEFORE_THE_KILL = 25
"""Visits after which the third phone is killed, in the middle of the next ones."""

Command = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Scene:
    """A title, what is watched, what each person does, and whether somebody must be refused."""

    title: str
    merge: str
    collection: str
    id: str
    watched: str
    doings: dict[str, tuple[str, Command]]
    """Per person: words for the table, and the command."""
    codes: frozenset[str] = frozenset()
    """The refusals that the scene must end with; everything else must be merged."""
    merged: str = ""
    """What merging means here, in words."""
    resolved: str = ""
    """Who resolved the conflict, where it was not left to the clock."""


def edit(row: str, /, fields: dict[str, Any], *, collection: str = "airfield") -> Command:
    """Command: write fields of a row."""
    return {"do": "edit", "collection": collection, "id": row, "fields": fields}


def delete(row: str, /, *, collection: str = "airfield") -> Command:
    """Command: delete a row."""
    return {"do": "delete", "collection": collection, "id": row}


def report(row: str, airfield: str, number: int, title: str, severity: str = "minor") -> Command:
    """Command: report a finding, listed first under its airfield."""
    fields = {
        "airfield": airfield,
        "report": number,
        "title": title,
        "severity": severity,
        "place": {"parent": airfield, "index": between(None, None, number)},
    }
    return {"do": "insert", "collection": "finding", "space": SPACE, "id": row, "fields": fields}


BEFORE: tuple[Command, ...] = (
    edit(
        HELGOLAND,
        {
            "visits": {"Add": [1]},
            "spares": {"Add": [5]},
            "tags": ["fuel", "night ban"],
            "needs_attention": True,
            "description": "Two runways.\nFerry twice a day.\nNo customs.",
            "frequencies": {"info": "122.455"},
        },
    ),
    report("lamp", SVALBARD, 16, "Lamp broken"),
)
"""What the lead writes online, so that everybody starts from it."""


def on_helgoland(
    title: str, merge: str, watched: str, /, merged: str = "", resolved: str = "",
    **doings: tuple[str, object],
) -> Scene:  # fmt: skip
    """Make a scene in which people write the same field of the same airfield."""
    commands = {
        person: (words, edit(HELGOLAND, {watched: value}))
        for person, (words, value) in doings.items()
    }
    return Scene(
        title, merge, "airfield", HELGOLAND, watched, commands, merged=merged, resolved=resolved
    )


PHOTO = {"sha256": "0f" * 32, "size": 48_213, "type": "image/jpeg"}

SCENES: tuple[Scene, ...] = (
    on_helgoland(
        "elevation", "Lww", "elevation_ft", cem=("12 ft", 12), ada=("8 ft", 8), ben=("7 ft", 7)
    ),
    on_helgoland(
        "position", "Group", "position",
        ada=("54.185, 7.915", {"lat": 54.185, "lon": 7.915}),
        cem=("54.187, 7.917", {"lat": 54.187, "lon": 7.917}),
    ),
    on_helgoland(
        "visits", "Counter", "visits", "each addition counts once",
        ada=("+1", {"Add": [1]}), ben=("+1", {"Add": [1]}), cem=("+2", {"Add": [2]}),
    ),
    on_helgoland(
        "tags", "AddWins", "tags", "what Ben removed, Cem had added anew",
        ada=("adds customs", {"AddElements": ["customs"]}),
        ben=("removes fuel", {"RemoveElements": ["fuel"]}),
        cem=("adds fuel again", {"AddElements": ["fuel"]}),
    ),
    on_helgoland(
        "remarks", "MultiValue", "remarks", "both are kept until a person decides",
        ben=("runway wet", "runway wet"), cem=("runway dry", "runway dry"),
    ),
    on_helgoland(
        "status", "Ranked", "status", "the label furthest along",
        ada=("signed off", "signed off"), ben=("visited", "visited")
    ),
    on_helgoland(
        "strongest wind", "Max", "strongest_wind_kt", "the highest ever",
        ada=("31 kt", 31), ben=("44 kt", 44), cem=("38 kt", 38),
    ),
    on_helgoland(
        "surveyed by", "FirstWrite", "surveyed_by", ben=("Ben", "Ben"), cem=("Cem", "Cem")
    ),
    on_helgoland(
        "needs attention", "Flag", "needs_attention", "Ben had not seen Cem's on",
        ben=("off", False), cem=("on", True)
    ),
    on_helgoland(
        "frequencies", "Map", "frequencies", "each key by itself, the latest write of a key",
        ada=("tower 118.700", {"Put": [{"tower": "118.700"}]}),
        ben=("info 122.450", {"Put": [{"info": "122.450"}]}),
        cem=("drops info", {"Drop": ["info"]}),
    ),
    on_helgoland(
        "log", "AppendOnly", "log", "all entries, by time",
        ada=("called", {"Append": ["called"]}), ben=("arrived", {"Append": ["arrived"]}),
        cem=("left", {"Append": ["left"]}),
    ),
    on_helgoland(
        "description", "Custom", "description",
        resolved="by the app's merge_lines, line by line",
        ada=("line 1", "Three runways.\nFerry twice a day.\nNo customs."),
        ben=("line 3", "Two runways.\nFerry twice a day.\nCustoms on request."),
        cem=("adds a line", "Two runways.\nFerry twice a day.\nNo customs.\nSeals on the beach."),
    ),
    on_helgoland(
        "photo", "BlobReference", "photo", "nobody else wrote it", ada=("beach.jpg", PHOTO)
    ),
    Scene(
        "spare lamps", "BoundedCounter", "airfield", HELGOLAND, "spares",
        {
            BEN: ("uses 4 of 5", edit(HELGOLAND, {"spares": {"Use": [4]}})),
            CEM: ("uses 3 of 5", edit(HELGOLAND, {"spares": {"Use": [3]}})),
        },
        frozenset({"escrow-exhausted"}),
    ),
    Scene(
        "sign-off, no visit", "rule", "airfield", SUMBURGH, "status",
        {ADA: ("signed off", edit(SUMBURGH, {"status": "signed off"}))},
        frozenset({"not-visited"}),
    ),
    Scene(
        "renaming", "field rights", "airfield", SUMBURGH, "name",
        {BEN: ("Shetland", edit(SUMBURGH, {"name": "Shetland"}))},
        frozenset({"field-forbidden"}),
    ),
    Scene(
        "report 17", "Unique", "finding", "cone", "title",
        {
            BEN: ("cone missing", report("cone", SVALBARD, 17, "Cone missing")),
            CEM: ("fence down", report("fence", SVALBARD, 17, "Fence down")),
        },
        frozenset({"not-unique"}),
    ),
    Scene(
        "finding at a gone airfield", "Reference", "airfield", BERGEN, "name",
        {
            ADA: ("deletes it", delete(BERGEN)),
            CEM: ("reports there", report("gate", BERGEN, 19, "Gate stuck")),
        },
        frozenset({"reference-missing"}),
    ),
    Scene(
        "lamp", "delete v. edit", "finding", "lamp", "title",
        {
            ADA: ("deletes it", delete("lamp", collection="finding")),
            BEN: ("retitles it", edit("lamp", {"title": "Lamp replaced"}, collection="finding")),
        },
        merged="the delete wins, the edit is kept under it",
    ),
    Scene(
        "severe finding", "derived", "airfield", SVALBARD, "needs_attention",
        {CEM: ("ice on runway", report("ice", SVALBARD, 18, "Ice on runway", "severe"))},
        merged="a rule turned the airfield's flag on",
    ),
)  # fmt: skip

WORK: Command = {"do": "work", "id": SVALBARD, "count": 100_000}
"""What the third phone is doing when it is killed."""
