"""The Lambda handler that classifies photos in S3, invoked by SQS."""
