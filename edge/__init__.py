"""The server: everything that does I/O, wired together in one place."""
