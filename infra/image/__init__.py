"""Shrink the image and shorten its cold start; infra/README.md has the update procedure ("Container image")."""
