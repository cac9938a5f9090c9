"""The page, and the documentation of the API."""
