"""Labelled photos sent to a live service as its clients would, and what came back."""
