"""The client is importable from the tree, installed or not."""

import sys
from pathlib import Path

CLIENT = str(Path(__file__).resolve().parents[3] / "clients" / "python")
if CLIENT not in sys.path:
    sys.path.insert(0, CLIENT)
