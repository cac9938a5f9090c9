"""Define the function's peers in the benchmark, each written as its users would write it, in its own image."""
