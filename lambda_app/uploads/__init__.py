"""Bounded reading of request bodies, forms and encoded photos."""
