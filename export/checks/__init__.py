"""Checks of the stages `verify` and `release`, which a model file must pass before it is served."""
