"""Read the header and the pixels of each photo format."""
