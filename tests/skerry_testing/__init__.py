"""The public testing module: what it draws, what its oracle says, and that its checks can fail."""
