"""The Python client: local store, pending queue and sync over HTTP or WebSocket."""
