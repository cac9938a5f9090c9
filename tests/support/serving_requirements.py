"""Read the pinned serving requirements."""

import re

from tests.support import ROOT

# Versions by the names of the packages, in the order of the file.
PINNED = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements-serve.txt").read_text(), re.MULTILINE))
