"""One module per kind of input; `tests.fuzz.registry` lists the targets in them."""
