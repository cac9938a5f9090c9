"""Compare the function with its peers and with lower bounds: cold start, speed, memory, size and cost."""
