"""The app of the end-to-end tests, in a node whose writer leaves checkpoints to Litestream."""

from edge.storage import sqlite
from tests.e2e.survey import app

setattr(sqlite, "WAL_PAGES_CHECKPOINT", 0)  # noqa: B010  (it is Final for everybody else)

__all__ = ["app"]
