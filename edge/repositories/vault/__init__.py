"""The vault: password hashes, flows under way, tokens that nodes join with."""
