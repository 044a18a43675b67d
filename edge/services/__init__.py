"""Use cases; they know ports and domain objects, never a database or a web framework."""
