"""The function against its peers and against the floor: cold start, speed, memory, size and cost, side by side."""
