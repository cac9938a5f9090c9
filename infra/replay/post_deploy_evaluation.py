"""Evaluate the accuracy and latency of a deployed service from the journal that infra.replay wrote.

Writes JSON and prints a table. Exits with 0; with 1 if the service failed on a photo or classified none; with 2 for
invalid arguments.

    python -m infra.replay.post_deploy_evaluation artifacts/replay.jsonl
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pandas import DataFrame

from infra.replay.journal import Answer, JournalError, read
from infra.report.label_metrics import classification_metrics, wilson_interval

OUTPUT = Path("artifacts/post_deploy.json")


def main(arguments: list[str] | None = None) -> int:
    parser = _create_parser()
    options = parser.parse_args(arguments)
    try:
        answers = list(read(options.journal).values())
    except JournalError as error:
        parser.error(str(error))
    evaluation = evaluate(answers)
    if not evaluation["classified"]:
        print(f"evaluation: {options.journal}: no photo was classified", file=sys.stderr)
        return 1
    try:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(evaluation, indent=2) + "\n")
    except OSError as error:
        parser.error(f"--json {options.json}: {error.strerror}; expected a file that can be written")
    print(render_table(evaluation))
    return int(not all(answer.is_done for answer in answers))


def evaluate(answers: Sequence[Answer]) -> dict[str, Any]:
    """Return counts, and if a photo was classified, metrics and latencies.

    Shares are in [0, 1], intervals are 95 % Wilson intervals, and latencies are milliseconds as the client measured.
    """
    classified = [answer for answer in answers if answer.predicted_class]
    counts = {
        "photos": len(answers),
        "classified": len(classified),
        "failures": dict(Counter(answer.error_code for answer in answers if answer.error_code)),
        "feedback": {
            "sent": sum(answer.feedback_status is not None for answer in answers),
            "accepted": sum(answer.feedback_status == 200 for answer in answers),
        },
        "model_versions": dict(Counter(answer.model_version for answer in classified)),
    }
    return counts | (_metrics(classified) | _latencies(classified) if classified else {})


def _metrics(classified: Sequence[Answer]) -> dict[str, Any]:
    """Return the classification metrics of the report, computed from the client's answers."""
    labels, predicted = ([getattr(answer, name) for answer in classified] for name in ("label", "predicted_class"))
    unknown = sum(bool(answer.unknown) for answer in classified)
    return {
        **(classification_metrics(DataFrame({"label": labels, "predicted_class": predicted})) or {}),
        "unknown": unknown / len(classified),
        "unknown_interval": wilson_interval(unknown, len(classified)),
    }


def _latencies(classified: Sequence[Answer]) -> dict[str, dict[str, float]]:
    return {name: _percentiles([getattr(answer, name) for answer in classified]) for name in ("latency_ms", "late_ms")}


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    return {f"p{p}": round(float(np.percentile(values, p)), 3) for p in (50, 95, 99)}


def render_table(evaluation: dict[str, Any]) -> str:
    failures = [f"{count} {code}" for code, count in evaluation["failures"].items()]
    rows = {
        "photos": f"{evaluation['photos']}, {evaluation['classified']} classified",
        "failures": ", ".join(failures) or "none",
        "feedback": "{sent} sent, {accepted} accepted".format(**evaluation["feedback"]),
    }
    rows |= {name: _format_share(evaluation, name) for name in ("accuracy", "unknown")}
    scores = "precision {precision:.4f}, recall {recall:.4f}, F1 {f1:.4f}"
    rows |= {
        name: f"{scores.format(**values)}, {values['labels']} photos" for name, values in evaluation["classes"].items()
    }
    latencies = "p50 {p50:.1f}, p95 {p95:.1f}, p99 {p99:.1f}"
    rows |= {name: latencies.format(**evaluation[name]) for name in ("latency_ms", "late_ms")}
    width = max(map(len, rows))
    return "\n".join(f"{name:{width}}  {value}" for name, value in rows.items())


def _format_share(evaluation: dict[str, Any], name: str) -> str:
    low, high = evaluation[f"{name}_interval"]
    return f"{100 * evaluation[name]:.2f} %, 95 % interval {100 * low:.2f} % to {100 * high:.2f} %"


def _create_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m infra.replay.post_deploy_evaluation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("journal", metavar="FILE", type=Path, help="journal that infra.replay wrote")
    parser.add_argument("--json", metavar="FILE", type=Path, default=OUTPUT, help="output file; %(default)s")
    return parser


if __name__ == "__main__":
    sys.exit(main())
