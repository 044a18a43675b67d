"""Taking mutations in: prepare (on the loop), then judge, merge and answer (one unit of work)."""
