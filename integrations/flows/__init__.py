"""Flows: straight-line code that carries one kind of record. `table` is pure data; `ship` and others do the work."""
