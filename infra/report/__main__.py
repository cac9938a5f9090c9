"""Reads the function's log and writes report.json and report.html: load, speed, accuracy, drift.

Exit code 3 where an alarm fires, 0 where none does, 1 for a log that cannot be read, 2 for bad arguments.

    python -m infra.report /aws/lambda/pet-classifier-dev --since 7d --publish
    docker logs CONTAINER | python -m infra.report -
"""

import argparse
import json
import sys
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException

from infra.emulator.runtime import ROOT
from infra.report import html_page, log_source, publish, reference_history, traffic
from infra.report.baseline import BASELINE
from infra.report.drift import Reference
from infra.report.log_reader import LATE, read
from infra.report.summary import summary

OUT = ROOT / "artifacts/report"
REFERENCE = ROOT / reference_history.REFERENCE
ALARM = 3


def main(arguments: list[str] | None = None) -> int:
    options = parsed(arguments)
    try:
        source, since = options.source, options.since
        earlier = log_source.earlier(source, since, LATE)
        log = read(log_source.lines(source, since), since, earlier, synthetic=options.synthetic)
        serving = traffic.serving(log.requests)
        reference, good_week = reference_history.find(serving, options.reference), options.baseline
        known = good_week if good_week and good_week.model_version == serving else reference
        report = summary(log, source, reference, known)
        write(report, html_page.render(report, log, known), options.out)
        if options.publish:
            publish.to_cloudwatch(report)
        publish.to_mlflow(report, options.out)
    except (log_source.SourceError, publish.NotPublished, MlflowException, OSError) as error:
        print(f"report: {str(error).splitlines()[0]}", file=sys.stderr)
        return 1
    with redirect_stdout(sys.stderr if options.outputs else sys.stdout):
        told(report, options.out)
    if options.outputs:
        print(f"alarm={json.dumps(bool(report['alarms']))}\nretrain={json.dumps(report['retrain'])}")
    return ALARM if report["alarms"] else 0


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m infra.report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    log_source.add_arguments(parser)
    parser.add_argument("--out", type=Path, default=OUT, help="folder of report.json and report.html")
    add_file(parser, "--reference", REFERENCE, "what export/reference.py wrote", labelled=True)
    add_file(parser, "--baseline", BASELINE, "what infra/report/baseline.py wrote", labelled=False)
    parser.add_argument("--publish", action="store_true", help="the figures to CloudWatch, for alarms")
    parser.add_argument("--outputs", action="store_true", help="print alarm= and retrain= alone, for a workflow")
    return parser.parse_args(arguments)


def add_file(parser: argparse.ArgumentParser, name: str, standard: Path, text: str, *, labelled: bool) -> None:
    default = str(standard) if standard.exists() else None
    parser.add_argument(name, type=partial(known_photos, labelled=labelled), default=default, help=text)


def known_photos(text: str, *, labelled: bool) -> Reference:
    try:
        return Reference.read(Path(text), labelled=labelled)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def write(report: dict[str, Any], html: str, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    (out / "report.html").write_text(html)


def told(report: dict[str, Any], out: Path) -> None:
    """What is worth a line."""
    print(f"{report['overall']['requests']} requests; wrote {out / 'report.json'} and {out / 'report.html'}")
    for name in ("drift", "accuracy"):
        if not report[name]["judged"]:
            print(f"{name} not judged: {report[name]['reason']}")
    for alarm in report["alarms"]:
        print(f"ALARM, {alarm['alarm']}: {alarm['message']}")
    print(f"{'retrain' if report['retrain'] else 'no retraining'}: {report['retrain_reason']}")


if __name__ == "__main__":
    sys.exit(main())
