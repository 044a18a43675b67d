"""Conformance vectors: what an implementation in any language must compute."""
