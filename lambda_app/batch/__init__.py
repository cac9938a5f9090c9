"""The SQS handler that classifies photos in S3."""
