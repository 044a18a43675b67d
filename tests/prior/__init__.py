"""What earlier releases left behind."""
