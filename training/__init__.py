"""Train the network: one module per DVC stage (config, prepare, train, evaluate), with its helpers beside it."""

import sys
from pathlib import Path

from training.interruption import report_in_one_line

ROOT = Path(__file__).parents[1]  # of the repository

# Set at import, so that Ctrl-C while PyTorch is imported also ends in one line.
sys.excepthook = report_in_one_line
