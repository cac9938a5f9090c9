"""Shorten the cold start of the image. infra/README.md, section "Container image", has the update procedure."""
