"""Vendors (one folder each), the vocabulary they share (`base`) and the flows between them (`flows`)."""
