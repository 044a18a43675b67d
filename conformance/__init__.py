"""The conformance kit: it tells whether a client, or a server, keeps to the sync protocol.

`skerry conformance client CMD` and `skerry conformance server URL` are its doors; the golden
vectors in `vectors/` are what both are held against. It stands on `sync_protocol` and `core` alone,
so that our own client and server come through the same doors as everybody else's.
"""
