"""Run, deploy, observe and measure the function, through HTTP and AWS's APIs."""

from pathlib import Path

ROOT = Path(__file__).parents[1]  # of the repository, or /var/task in the image
