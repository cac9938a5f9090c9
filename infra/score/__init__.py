"""Photos by the million: named to the queue of lambda_app/batch/handler.py, and its results gathered."""
