"""Identity as pure rules: accounts, sessions, keys, limits; times and entropy are arguments."""
