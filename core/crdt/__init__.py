"""Field types: one module each, listed in `registry.FIELD_TYPES`."""
