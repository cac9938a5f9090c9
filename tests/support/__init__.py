"""Share helpers among the tests."""

from pathlib import Path

ROOT = Path(__file__).parents[2]  # of the repository
