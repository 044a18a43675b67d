"""The sync protocol: wire messages, codecs, limits and sans-IO session state machines."""
