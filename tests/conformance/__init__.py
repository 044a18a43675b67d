"""Acceptance suites that every implementation of a port passes."""
