"""What a retraining proposes: artifacts/proposal.md, the text of a pull request, where it changed the served model.

Where the challenger lost there is no such file, and its figures stand on the output alone.
"""

import hashlib
import json
import re
import subprocess

from infra import documents
from infra.documents import METRICS, MODEL
from infra.emulator.runtime import ROOT
from infra.markdown import table

PROPOSAL = ROOT / "artifacts/proposal.md"
BLOCK = re.compile(r"<!-- \[\[\[cog .*results\(\).* -->\n(.*?)\n<!-- \[\[\[end\]\]\] -->", re.DOTALL)


def main() -> None:
    text = proposal()
    print(text)
    PROPOSAL.unlink(missing_ok=True)
    if hashlib.sha256(committed(MODEL)).hexdigest() != documents.served():
        PROPOSAL.write_text(text)


def proposal() -> str:
    """Return the verdict, and README's figures of the last commit beside those of the last run."""
    released = json.loads((METRICS / "release.json").read_text())
    [before] = BLOCK.findall(committed("README.md").decode())
    return f"{released['model_version']}: {released['reason']}.\n\n{compared(before, documents.results())}\n"


def committed(path: str) -> bytes:
    return subprocess.run(["git", "show", f"HEAD:{path}"], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout


def compared(before: str, now: str) -> str:
    """Two tables of figures as one; what only one of them has stays empty in the other."""
    then, today = figures(before), figures(now)
    return table(
        ("measure", "before", "now"), [(what, then.get(what, ""), today.get(what, "")) for what in then | today]
    )


def figures(page: str) -> dict[str, str]:
    rows = (line.strip("| ").partition(" | ") for line in page.splitlines()[2:])
    return {what: figure for what, _, figure in rows}


if __name__ == "__main__":
    main()
