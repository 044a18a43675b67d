"""What writes the conformance vectors, and what holds them against the implementation."""
