"""Write the coverage of each package, as `make coverage` measures it, to artifacts/coverage.json.

A share counts lines and branches together, as coverage.py's own report does:
https://coverage.readthedocs.io/en/latest/branch.html
"""

import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

from coverage import Coverage
from coverage.exceptions import CoverageException

from tests.support import ROOT

PACKAGES = ("lambda_app", "training", "export", "infra")
OUTPUT = ROOT / "artifacts/coverage.json"


def measure() -> dict[str, float]:
    """Return the covered share of each package and of all of them, in percent, from the data file in the repository.

    Raise `coverage.exceptions.CoverageException` if there is no data.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "coverage.json"
        measured = Coverage(config_file=ROOT / "pyproject.toml", data_file=ROOT / ".coverage")
        measured.load()
        measured.json_report(outfile=str(path))
        files = json.loads(path.read_text())["files"]
    covered: Counter[str] = Counter()
    counted: Counter[str] = Counter()
    for name, file in files.items():
        for package in (name.split("/")[0], "total"):
            summary = file["summary"]
            covered[package] += summary["covered_lines"] + summary["covered_branches"]
            counted[package] += summary["num_statements"] + summary["num_branches"]
    return {package: 100 * covered[package] / counted[package] for package in (*PACKAGES, "total") if counted[package]}


def main() -> None:
    try:
        shares = measure()
    except CoverageException as error:
        sys.exit(f"coverage: {error}; run `make coverage`")
    OUTPUT.write_text(json.dumps({package: round(share, 1) for package, share in shares.items()}, indent=2) + "\n")
    print(OUTPUT.read_text(), end="")


if __name__ == "__main__":
    main()
