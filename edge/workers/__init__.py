"""Background loops: draining, compaction, retention."""
