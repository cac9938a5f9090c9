"""Print the text of a retraining's pull request, and write it to artifacts/proposal.md if the challenger won."""

import hashlib
import re
import subprocess

from infra import ROOT, documents
from infra.markdown import table

PROPOSAL = ROOT / "artifacts/proposal.md"
RESULTS_BLOCK = re.compile(r"<!-- \[\[\[cog .*results\(\).* -->\n(.*?)\n<!-- \[\[\[end\]\]\] -->", re.DOTALL)


def main() -> None:
    text = render_proposal()
    print(text)
    PROPOSAL.unlink(missing_ok=True)
    if hashlib.sha256(read_committed(documents.MODEL)).hexdigest() != documents.hash_served_model():
        PROPOSAL.write_text(text)


def render_proposal() -> str:
    """Return the verdict, and a table of the figures in the last commit's README and of those of this run."""
    release = documents.read_metrics("release")
    [before] = RESULTS_BLOCK.findall(read_committed("README.md").decode())
    return f"{release['model_version']}: {release['reason']}.\n\n{merge_tables(before, documents.results())}\n"


def read_committed(path: str) -> bytes:
    """Return the content of a file at the last commit."""
    return subprocess.run(["git", "show", f"HEAD:{path}"], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout


def merge_tables(before: str, after: str) -> str:
    """Merge two tables of figures into one. The cell of a missing figure is empty."""
    old, new = parse_figures(before), parse_figures(after)
    rows = [(name, old.get(name, ""), new.get(name, "")) for name in old | new]
    return table(("measure", "before", "now"), rows)


def parse_figures(markdown: str) -> dict[str, str]:
    """Return the rows of a table with two columns."""
    rows = (line.strip("| ").partition(" | ") for line in markdown.splitlines()[2:])
    return {name: figure for name, _, figure in rows}


if __name__ == "__main__":
    main()
