"""Score photos in S3: send their keys to the queue of lambda_app/batch, and gather the results."""
