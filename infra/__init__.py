"""What surrounds the function: local Lambda, deployment, observability, benchmark. It talks HTTP and AWS APIs."""
