"""Peers and lower bounds of the function. Each is the content of an image."""
