"""Shorten the cold start of the image: patches of pinned packages, and one file for all imports."""
