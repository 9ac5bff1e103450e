"""Comparing ERP, carrier and our own books: what is missing, extra, different or in doubt, each with its remedy."""
