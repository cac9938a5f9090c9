"""How right and how fast a deployed service was, by what infra.replay wrote.

Writes JSON and prints a table. Exit code 0; 1 where the service failed at a photo, or classified none; 2 for bad
arguments.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from infra.replay import __main__ as collect_feedback
from infra.replay.journal import Answer, JournalError, read
from infra.report.label_metrics import quality, wilson
from infra.report.log_reader import Table

OUTPUT = Path("artifacts/post_deploy.json")


def main(arguments: list[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    code = 0
    if options.replay:
        code = collect_feedback.main([*options.replay, "--output", str(options.journal)])
        if code > 1:
            return code
    try:
        answers = list(read(options.journal).values())
    except JournalError as error:
        parser.error(str(error))
    evaluated = evaluation(answers)
    if not evaluated["classified"]:
        print(f"evaluate_post_deploy: {options.journal}: no photo was classified", file=sys.stderr)
        return 1
    try:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(evaluated, indent=2) + "\n")
    except OSError as error:
        parser.error(f"--json {options.json}: {error.strerror}; expected a file that can be written")
    print(table(evaluated))
    return code or int(not all(answer.done for answer in answers))


def evaluation(answers: Sequence[Answer]) -> dict[str, Any]:
    """Shares are in [0, 1], intervals Wilson's of 95 %, times the client's. Only counts where none was classified."""
    classified = [answer for answer in answers if answer.predicted_class]
    counts = {
        "photos": len(answers),
        "classified": len(classified),
        "failures": dict(Counter(answer.error_code for answer in answers if answer.error_code)),
        "feedback": {
            "sent": sum(answer.feedback_status is not None for answer in answers),
            "taken": sum(answer.feedback_status == 200 for answer in answers),
        },
        "model_versions": dict(Counter(answer.model_version for answer in classified)),
    }
    return counts | (_quality(classified) | _times(classified) if classified else {})


def _quality(classified: Sequence[Answer]) -> dict[str, Any]:
    """As in the report, but of what the client saw."""
    labels, predicted = ([getattr(answer, name) for answer in classified] for name in ("label", "predicted_class"))
    columns = {"label": np.array(labels, object), "predicted_class": np.array(predicted, object)}
    unknown = sum(bool(answer.unknown) for answer in classified)
    return {
        **(quality(Table({"time": np.zeros(len(classified)), **columns})) or {}),
        "unknown": unknown / len(classified),
        "unknown_interval": wilson(unknown, len(classified)),
    }


def _times(classified: Sequence[Answer]) -> dict[str, dict[str, float]]:
    return {name: _percentiles([getattr(answer, name) for answer in classified]) for name in ("latency_ms", "late_ms")}


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    return {f"p{p}": round(float(np.percentile(values, p)), 3) for p in (50, 95, 99)}


def table(evaluated: dict[str, Any]) -> str:
    failures = [f"{count} {code}" for code, count in evaluated["failures"].items()]
    rows = {
        "photos": f"{evaluated['photos']}, {evaluated['classified']} classified",
        "failures": ", ".join(failures) or "none",
        "feedback": "{sent} sent, {taken} taken".format(**evaluated["feedback"]),
    }
    rows |= {name: _with_interval(evaluated, name) for name in ("accuracy", "unknown")}
    scores = "precision {precision:.4f}, recall {recall:.4f}, F1 {f1:.4f}, {labelled} photos"
    rows |= {name: scores.format(**values) for name, values in evaluated["classes"].items()}
    times = "p50 {p50:.1f}, p95 {p95:.1f}, p99 {p99:.1f}"
    rows |= {name: times.format(**evaluated[name]) for name in ("latency_ms", "late_ms")}
    width = max(map(len, rows))
    return "\n".join(f"{name:{width}}  {value}" for name, value in rows.items())


def _with_interval(evaluated: dict[str, Any], name: str) -> str:
    low, high = evaluated[f"{name}_interval"]
    return f"{evaluated[name]:.2%}, with 95 % confidence {low:.2%} to {high:.2%}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.replay.evaluation", description=__doc__)
    parser.add_argument("journal", metavar="FILE", type=Path, help="what infra.replay wrote")
    parser.add_argument("--json", metavar="FILE", type=Path, default=OUTPUT, help=f"to write; {OUTPUT}")
    parser.add_argument(
        "--replay", metavar="…", nargs=argparse.REMAINDER, help="URL PHOTOS …, as for infra.replay: first"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
