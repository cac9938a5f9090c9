"""Turn photos that users contributed into training data: download, screen, review, accept, and delete on request."""
