"""The demonstration of two regions, told from beginning to end by the program itself."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "examples" / "field_survey" / "fleet_demo.py"
DEMO_SECONDS_MAX = 280
SENTENCES = (
    "a primary and two edges, ams and syd, are up",
    "the office has pushed 200 airfields to the primary",
    "5 edits of Ada's in ams: each is on Cem's phone in syd after",
    "Ada (ams), elevation 12 ft, after",
    "Cem (syd), elevation 8 ft, after",
    "durable in the outboxes of the edges: 2 in ams and 3 in syd",
    "every phone goes on reading its own file: [200, 200, 200, 200] airfields",
    "the edge in ams answers REST: Helgoland",
    "the edge in syd answers REST: Helgoland",
    "neighbours see each other's accepted writes as provisional",
    "access tokens are refreshed by the edges alone: ams in",
    "every accepted write has its final receipt",
    "conflict, in the primary's log: Cem's 8 ft won over Ada's 12 ft",
    "rejected (Dan, lead-only), although it had been accepted",
    "edge-ams epoch 2 leads now",
    "Dan's last edit, written in syd at once, is on Ada's phone in ams after",
    "Four phones, both regions and the primary are equal.",
)


@pytest.mark.slow
def test_two_regions_outlive_an_absent_primary_and_end_equal():
    ended = subprocess.run(
        [sys.executable, str(DEMO), "--airports", "200"],
        capture_output=True, text=True, timeout=DEMO_SECONDS_MAX, cwd=ROOT, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stderr == ""
    told = " ".join(ended.stdout.split())  # sentences may be wrapped
    places = [told.find(sentence) for sentence in SENTENCES]
    assert -1 not in places, [s for s, at in zip(SENTENCES, places, strict=True) if at < 0]
    assert places == sorted(places), "the story is told in its order"
    files = re.findall(r"│ (primary|edge-ams|edge-syd) +│ +[\d,]+ │ +200 │ (yes|no) ", ended.stdout)
    assert sorted(files) == sorted([(n, "yes") for n in ("primary", "edge-ams", "edge-syd")] * 2)
