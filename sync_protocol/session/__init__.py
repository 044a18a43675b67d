"""Session state machines, sans-IO: events in, effects out, one table per machine."""
