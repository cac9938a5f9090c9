"""Request records, log lines and metrics."""
