"""Serve image classification on AWS Lambda; deploy this folder with the packages of requirements-serve.txt."""

__version__ = "0.2.0"  # of the software; the model has a version of its own in its metadata
