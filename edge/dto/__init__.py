"""The shapes that cross the HTTP boundary, as msgspec structs."""
