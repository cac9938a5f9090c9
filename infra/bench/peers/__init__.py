"""Peers and lower bounds of the function, and programs that the benchmark runs in processes of their own.

Each peer or lower bound is the content of an image.
"""
