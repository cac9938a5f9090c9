"""Shorten the cold start of the image, and shrink it; infra/README.md has the update procedure ("Container image")."""
