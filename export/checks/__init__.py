"""Check a model file in the stages `verify` and `release`; a file that fails a gate is not served."""
