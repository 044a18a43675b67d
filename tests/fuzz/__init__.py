"""Coverage-guided fuzzing: targets, their saved corpora, and what replays them in `make test`."""
