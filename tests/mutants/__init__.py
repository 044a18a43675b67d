"""Planted faults: `python -m tests.mutants` proves that the tests notice each of them."""
