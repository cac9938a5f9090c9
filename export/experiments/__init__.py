"""Measure models for the documents. The pipeline does not run these modules, so they cannot stop a release."""
