"""`python -m edge.cli` is the `skerry` command, for places without the script."""

from edge.cli import main

main()
