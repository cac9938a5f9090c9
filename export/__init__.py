"""Turn a checkpoint into the released model: convert, quantize, verify and release, one module per DVC stage."""

import sys

from training.interruption import report_in_one_line

sys.excepthook = report_in_one_line
