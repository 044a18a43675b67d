"""Write the conformance vectors: `python -m tests.vectors.generate`.

What an implementation in any language must compute is in the JSON files of the package
`conformance.vectors`. They are committed; a test fails when they would be written differently.
"""

from pathlib import Path
from typing import Any

import msgspec

from core.crdt.registry import FIELD_TYPES
from tests.vectors import merges, wire

FOLDER = Path(__file__).parents[2] / "conformance" / "vectors"


def vectors() -> dict[str, Any]:
    """Return the content of every file by its name."""
    return {
        "clock.json": merges.clock(),
        "ties.json": merges.ties(),
        "digest.json": wire.digests(),
        "transcripts.json": wire.transcripts(),
        "faults.json": wire.faults(),
        **{f"merge_{kind}.json": merges.merge(kind) for kind in sorted(FIELD_TYPES)},
    }


def written(content: Any) -> bytes:
    """Return the bytes of a file."""
    return msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n"


def main() -> None:
    """Write every file."""
    for name, content in vectors().items():
        (FOLDER / name).write_bytes(written(content))
        print(name)


if __name__ == "__main__":
    main()
