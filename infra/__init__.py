"""What surrounds the function: local Lambda, deployment, observability, benchmark. It talks HTTP and AWS APIs."""

from pathlib import Path

ROOT = Path(__file__).parents[1]  # of the repository, or /var/task in the image
