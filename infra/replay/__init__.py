"""Send labeled photos to a live service at a given pace, journal the answers, and evaluate them."""
