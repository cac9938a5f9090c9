"""Describe a data set: layout, classes, splits, files that were set aside, and warnings."""

import math
from collections import Counter

from training.figures import read_figures
from training.manifest import read_all_rows
from training.source import Layout
from training.split import SPLITS, Row

FEW = 100  # photos of a class below which its accuracy is uncertain
IMBALANCE = 10  # times as many photos of the largest class as of the smallest
MAX_LISTED = 40  # classes in the table


def describe(rows: list[Row], layout: Layout) -> list[str]:
    """Return the lines of the overview that `make train` prints before it trains."""
    split = "the folders of the source (SPLIT=given)" if layout.splits else "the hash of each photo"
    used = [row for row in rows if row.split]
    return [
        f"layout: {layout.kind}; {len(used):,} photos of {len({row.label for row in used})} classes; splits by {split}",
        *(f"note: {note}" for note in layout.notes),
        *class_table(rows),
        *count_set_aside(rows),
        *(f"warning: {warning}" for warning in find_warnings(rows)),
    ]


def class_table(rows: list[Row]) -> list[str]:
    """Return one line per class with its numbers of photos per split, and of photos that were set aside."""
    labels = sorted({row.label for row in rows if row.label})
    counts = Counter((row.label, row.split) for row in rows if row.label)
    width = max([len("class"), *map(len, labels[:MAX_LISTED])])
    lines = [f"{'class':{width}}" + "".join(f"{name:>11}" for name in (*SPLITS, "set aside"))]
    lines += [
        f"{label:{width}}" + "".join(f"{counts[label, name]:>11,}" for name in (*SPLITS, ""))
        for label in labels[:MAX_LISTED]
    ]
    return lines if len(labels) <= MAX_LISTED else [*lines, f"and {len(labels) - MAX_LISTED} more classes"]


def count_set_aside(rows: list[Row]) -> list[str]:
    """Return the number of files that were set aside, by class and reason."""
    reasons = Counter((row.label or "no class", row.reason.split(":")[0]) for row in rows if row.reason)
    lines = [f"set aside: {count:,} of {label}: {reason}" for (label, reason), count in reasons.most_common(MAX_LISTED)]
    return lines or ["set aside: none"]


def find_warnings(rows: list[Row]) -> list[str]:
    """Return warnings about few photos and about classes of different sizes."""
    counts = Counter(row.label for row in rows if row.split)
    tests = Counter(row.label for row in rows if row.split == "test")
    return [*_warn_few(counts, tests), *_warn_imbalance(counts), *_warn_uncertain(sum(tests.values()))]


def _warn_few(counts: Counter[str], tests: Counter[str]) -> list[str]:
    small = sorted(label for label, count in counts.items() if count < FEW)
    if not small:
        return []
    fewest = min(small, key=counts.__getitem__)
    points = 100 / max(1, tests[fewest])
    text = (
        f"fewer than {FEW} photos of {_names(small)} ({counts[fewest]} of {fewest!r}, {tests[fewest]} for the test). "
        f"One mistake changes the accuracy of this class by {points:.0f} points, so only large differences between "
        "models are visible"
    )
    return [text]


def _warn_imbalance(counts: Counter[str]) -> list[str]:
    if not counts or max(counts.values()) < IMBALANCE * min(counts.values()):
        return []
    (large, most), (rare, least) = counts.most_common()[0], counts.most_common()[-1]
    text = (
        f"{large!r} has {most:,} photos and {rare!r} {least:,}. Always answering {large!r} would be right on "
        f"{100 * most / (most + least):.1f} % of the two, so expect more mistakes on {rare!r} than the accuracy shows. "
        f"Add photos of {rare!r}, or set train.balance_classes to true in params.yaml"
    )
    return [text]


def _warn_uncertain(photos: int) -> list[str]:
    """Warn if the 95 % interval of an accuracy, which is widest at 50 %, exceeds 10 points in either direction."""
    margin = 1.96 * math.sqrt(0.25 / photos) if photos else 1.0
    return (
        [f"{photos} test photos: the accuracy is uncertain by up to {100 * margin:.0f} points"] if margin > 0.1 else []
    )


def _names(labels: list[str]) -> str:
    shown = ", ".join(map(repr, labels[:3]))
    return shown if len(labels) <= 3 else f"{shown} and {len(labels) - 3} more classes"


def main() -> None:
    """Print the overview of the last `prepare`, which DVC does not repeat if nothing has changed."""
    summary = read_figures("prepare")
    rows = list(read_all_rows())
    splits = {row.id: row.split for row in rows if row.split} if summary["split"] == "given" else {}
    print("\n".join(describe(rows, Layout(summary["layout"], {}, {}, (), splits, tuple(summary["notes"])))))


if __name__ == "__main__":
    main()
