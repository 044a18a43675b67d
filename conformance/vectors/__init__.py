"""The golden vectors: what an implementation in any language must compute, one JSON file each.

They are written by `make vectors` and never by hand.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any


def read(name: str) -> Any:  # noqa: ANN401  (each file has a shape of its own)
    """Return the content of one file, such as `clock.json`."""
    return json.loads(files(__name__).joinpath(name).read_text("utf-8"))


def names() -> list[str]:
    """Return the names of all files."""
    return sorted(file.name for file in files(__name__).iterdir() if file.name.endswith(".json"))
