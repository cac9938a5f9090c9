"""Write the figures that `dvc metrics show` prints.

With `--print`, the command prints the summary at the end of `make train` instead. The figures belong to the model that
was trained last, even if another model serves.
"""

import argparse
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from training.figures import read_figures, write_figures

TRY_COMMAND = "make demo PHOTO=PHOTO.jpg"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--print", action="store_true", help="print the summary of make train instead of writing the figures"
    )
    if parser.parse_args().print:
        print(render_summary(read_figures("evaluate")["sets"]["test"], read_figures("release"), list_changes()))
    else:
        write_figures("summary", collect_figures())


def collect_figures() -> dict[str, Any]:
    """Return the figures of the last trained model by name."""
    evaluated, released, best = read_figures("evaluate"), read_figures("release"), read_figures("train")["best"]
    test = evaluated["sets"]["test"]
    further = {f"accuracy_{name}": values["accuracy"] for name, values in evaluated["sets"].items() if name != "test"}
    return {
        "photos": read_figures("prepare")["photos"],
        "best_epoch": int(best["epoch"]),
        "val_loss": best["val_loss"],
        "accuracy_test": test["accuracy"],
        "accuracy_test_low": test["accuracy_interval"][0],
        "accuracy_test_high": test["accuracy_interval"][1],
        **further,
        "unknown_test": test["unknown_rate"],
        **{f"unknown_{name}": values["unknown_rate"] for name, values in evaluated["outliers"].items()},
        "calibration_error_test": test["calibration_error"],
        "size_mb": released["size_mb"],
        "served": "yes" if released["promoted"] else "no",
    }


def render_summary(test: Mapping[str, Any], released: Mapping[str, Any], changes: Sequence[str]) -> str:
    """Return the accuracy on the test photos, the release decision, the changed files and the next command."""
    low, high = (f"{100 * bound:.2f}" for bound in test["accuracy_interval"])
    decision = "serves now" if released["promoted"] else "is NOT served; the previous model still serves"
    lines = [
        "",
        f"accuracy: {100 * test['accuracy']:.2f} % of {test['photos']:,} test photos (95 % interval {low} to {high} %)",
        f"model:    {released['model_version']} {decision}",
        f"reason:   {released['reason']}",
        f"changed:  {', '.join(changes) or 'nothing'}",
        f"next:     {TRY_COMMAND if released['promoted'] else f'make promote, to serve it anyway, or {TRY_COMMAND}'}",
    ]
    return "\n".join(lines)


def list_changes() -> list[str]:
    """Return the files that differ from the last commit. There are none outside a Git repository."""
    command = ["git", "status", "--porcelain", "--untracked-files=normal"]
    output = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return [line[3:] for line in output.splitlines()]


if __name__ == "__main__":
    main()
