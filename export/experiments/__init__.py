"""Measurements for documents and the model card. No stage of the pipeline runs them, and none stops a release."""
