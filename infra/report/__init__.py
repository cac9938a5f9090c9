"""Report load, latency, accuracy and drift from the log of the function."""
