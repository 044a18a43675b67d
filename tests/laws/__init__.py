"""Laws that hold for every field type."""
