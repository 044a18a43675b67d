"""Checks on the shape of the code itself."""
