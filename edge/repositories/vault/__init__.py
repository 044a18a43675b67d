"""The vault: password hashes, and flows under way."""
