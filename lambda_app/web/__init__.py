"""Web page and API documentation."""
