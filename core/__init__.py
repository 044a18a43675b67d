"""The pure heart of Skerry: CRDT types, clock, schema, policies and rules; no I/O."""
