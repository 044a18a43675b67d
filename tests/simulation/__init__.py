"""Deterministic simulation: whole fleets and phones in one process, all of it from one seed.

`python -m tests.simulation` is the command (README.md beside this file). Nothing here may be
imported before `tests.simulation.clock` has put its clock in place.
"""
