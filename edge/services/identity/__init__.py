"""Identity: accounts, ways in, sessions, keys, revocations."""
