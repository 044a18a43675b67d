"""docs/figures.py replaces the block of figures in the README, and nothing else."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("figures", ROOT / "docs" / "figures.py")
assert SPEC is not None
assert SPEC.loader is not None
figures = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(figures)

MACHINE = {
    "cores": 2,
    "cpu": "A processor",
    "python": "3.11.2",
    "sqlite": "3.40.1",
    "date": "2026-11-22T12:00:00+00:00",
    "commit": "abc1234",
}
RESULTS = [
    {
        "name": "push", "value": 123_456.7, "unit": "changes/s", "limit": 200_000.0,
        "ratio": 0.6173, "required": "ratio >= 0.5", "machine": MACHINE,
    },
    {
        "name": "start", "value": 0.4567, "unit": "s", "limit": None,
        "ratio": None, "required": "<= 1.5", "machine": MACHINE,
    },
    {
        "name": "aside", "value": 1.0, "unit": "s", "limit": None,
        "ratio": None, "required": "", "machine": MACHINE,
    },
]  # fmt: skip


def test_the_block_is_replaced_and_the_rest_stays():
    readme = (ROOT / "README.md").read_text("utf-8")
    written = figures.rewritten(readme, RESULTS)
    assert "| push | 123,457 | changes/s | 200,000 | 0.62 | ratio >= 0.5 |" in written
    assert "| start | 0.457 | s |  |  | <= 1.5 |" in written
    assert "| aside |" not in written
    assert written.count("Measured 2026-11-22 at abc1234: 2 cores, A processor") == 1
    before, _, after = readme.partition("<!-- figures -->")
    assert written.startswith(before)
    assert written.endswith(after.partition("<!-- /figures -->")[2])
    assert figures.rewritten(written, RESULTS) == written


def test_a_page_without_the_block_is_refused():
    with pytest.raises(ValueError, match="0 blocks"):
        figures.rewritten("# Nothing here\n", RESULTS)
