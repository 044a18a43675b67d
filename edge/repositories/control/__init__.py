"""The control database: tenants, accounts, ways in, sessions, keys, revocations and audit."""
