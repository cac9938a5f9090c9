"""Bytes in, JSON out: the deployable. Copy this folder with requirements-serve.txt and you have the function."""
