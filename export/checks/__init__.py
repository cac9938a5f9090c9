"""The checks that a model file passes before its release."""
