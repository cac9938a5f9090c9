"""Serve image classification on AWS Lambda; deploy this folder with the packages of requirements-serve.txt."""

# The version of the software. The metadata of the model file has the version of the model.
__version__ = "0.2.0"
