"""Checks that a model file must pass before its release."""
