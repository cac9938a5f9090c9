"""Record each request in the log, in CloudWatch metrics (EMF), in Prometheus metrics and in the prediction log."""
