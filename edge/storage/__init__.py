"""Storage engines; the only place that imports database drivers."""
