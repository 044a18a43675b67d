"""Wire messages, one module each; `union` lists what each side may send."""
