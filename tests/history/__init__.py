"""Histories of runs, how they are recorded, and the checker that judges them."""
