"""Persistence of domain objects, behind the ports."""
