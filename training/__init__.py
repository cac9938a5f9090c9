"""Train the network: one module per DVC stage (prepare, train, evaluate), with its helpers beside it."""

import sys

from training.interruption import report_in_one_line

sys.excepthook = report_in_one_line
