"""Generated SQL: the columns, tables and merge statements of a declared collection."""
