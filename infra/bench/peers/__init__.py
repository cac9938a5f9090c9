"""Peers of the function. Each has its own image and follows its own documentation or usual tutorials."""
