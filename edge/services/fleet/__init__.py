"""The fleet: trust between nodes, membership, and the way to the primary."""
