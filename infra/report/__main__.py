"""Reads the function's log and writes report.json and report.html: load, speed, accuracy, drift.

Exit code 3 where an alarm fires, 0 where none does, 1 for a log that cannot be read, 2 for bad arguments.

    python -m infra.report /aws/lambda/pet-classifier-dev --since 7d --publish
    docker logs CONTAINER | python -m infra.report -
"""

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException

from infra.local.runtime import ROOT
from infra.report import page, publish, sources
from infra.report.drift import Reference
from infra.report.records import read
from infra.report.summary import Empty, summary

OUT = ROOT / "artifacts/report"
REFERENCE = ROOT / "artifacts/reference.json"
ALARM = 3


def main(arguments: list[str] | None = None) -> int:
    options = parsed(arguments)
    reference = options.reference
    try:
        log = read(sources.lines(options.source, options.since), options.since)
        report = summary(log, reference, options.source)
        write(report, page.render(report, log, reference), options.out)
        if options.publish:
            publish.to_cloudwatch(report)
        publish.to_mlflow(report, options.out)
    except (sources.SourceError, Empty, publish.NotPublished, MlflowException, OSError) as error:
        print(f"report: {str(error).splitlines()[0]}", file=sys.stderr)
        return 1
    return told(report, options.out)


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m infra.report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", help="CloudWatch log group, file of JSON lines, or - for standard input")
    parser.add_argument("--since", type=since, help="30m, 12h, 7d, 2w or 2026-11-01; default: all that is there")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of report.json and report.html")
    standard = str(REFERENCE) if REFERENCE.exists() else None
    parser.add_argument("--reference", type=reference, default=standard, help="what export/reference.py wrote")
    parser.add_argument("--publish", action="store_true", help="the figures to CloudWatch, for alarms")
    options = parser.parse_args(arguments)
    if not options.source:
        parser.error("SOURCE is empty: expected a CloudWatch log group, a file of JSON lines, or -")
    return options


def since(text: str) -> datetime:
    try:
        return sources.moment(text, datetime.now(UTC))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def reference(text: str) -> Reference:
    try:
        return Reference.read(Path(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def write(report: dict[str, Any], html: str, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    (out / "report.html").write_text(html)


def told(report: dict[str, Any], out: Path) -> int:
    """What is worth a line, and the exit code."""
    print(f"{report['overall']['requests']} requests; wrote {out / 'report.json'} and {out / 'report.html'}")
    for name in ("drift", "accuracy"):
        if not report[name]["judged"]:
            print(f"{name} not judged: {report[name]['reason']}")
    for alarm in report["alarms"]:
        print(f"ALARM, {alarm['alarm']}: {alarm['message']}")
    return ALARM if report["alarms"] else 0


if __name__ == "__main__":
    sys.exit(main())
