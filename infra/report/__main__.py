"""Write report.json, report.html and report.md from the log of the function: load, latency, accuracy and drift.

Exits with 3 if the report raises an alarm, with 0 if not, with 1 if the log cannot be read or the report cannot be
written or published, and with 2 for invalid arguments.

    python -m infra.report /aws/lambda/pet-classifier-dev --since 7d --publish
    docker logs CONTAINER | python -m infra.report -
"""

import argparse
import gc
import json
import sys
from contextlib import closing, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

from infra import ROOT
from infra.report import html_page, log_source, markdown_summary, publish, traffic
from infra.report.baseline import BASELINE
from infra.report.build_report import build_report
from infra.report.log_reader import FEEDBACK_WINDOW, read
from infra.report.reference import GIT_PATH, Reference, find_reference

OUTPUT = ROOT / "artifacts/report"
REFERENCE = ROOT / GIT_PATH
ALARM_EXIT_CODE = 3


def main(arguments: list[str] | None = None) -> int:
    options = parse_arguments(arguments)
    try:
        source, since = options.source, options.since
        with closing(log_source.stream_earlier(source, since, FEEDBACK_WINDOW)) as earlier:
            log = read(log_source.stream_lines(source, since), since, earlier, synthetic=options.synthetic)
        serving = traffic.serving_version(log.requests)
        reference, baseline = find_reference(serving, options.reference), options.baseline
        if baseline is None or baseline.model_version != serving:
            baseline = reference
        report = build_report(log, source, reference, baseline, since)
        write_files(report, html_page.render_page(report, log, baseline), options.out)
        if options.publish:
            publish.to_cloudwatch(report)
        publish.to_mlflow(report, options.out)
    except (log_source.LogSourceError, publish.PublishError, OSError) as error:
        print(f"report: {str(error).splitlines()[0]}", file=sys.stderr)
        return 1
    with redirect_stdout(sys.stderr if options.outputs else sys.stdout):
        print_summary(report, options.out)
    if options.outputs:
        print(f"alarm={json.dumps(bool(report['alarms']))}\nretrain={json.dumps(report['retrain'])}")
    return ALARM_EXIT_CODE if report["alarms"] else 0


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m infra.report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    log_source.add_arguments(parser)
    parser.add_argument("--out", type=Path, default=OUTPUT, help="output folder of the three files")
    add_reference_option(parser, "--reference", REFERENCE, "file that export/drift_reference.py wrote", labeled=True)
    add_reference_option(parser, "--baseline", BASELINE, "file that infra.report.baseline wrote", labeled=False)
    parser.add_argument("--publish", action="store_true", help="publish the figures to CloudWatch, for alarms")
    parser.add_argument("--outputs", action="store_true", help="print only alarm= and retrain=, for a workflow")
    return parser.parse_args(arguments)


def add_reference_option(parser: argparse.ArgumentParser, name: str, path: Path, text: str, *, labeled: bool) -> None:
    default = str(path) if path.exists() else None
    parser.add_argument(name, type=partial(parse_reference, labeled=labeled), default=default, help=text)


def parse_reference(text: str, *, labeled: bool) -> Reference:
    try:
        return Reference.read(Path(text), labeled=labeled)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def write_files(report: dict[str, Any], html: str, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    (out / "report.html").write_text(html)
    (out / "report.md").write_text(markdown_summary.render_summary(report))


def print_summary(report: dict[str, Any], out: Path) -> None:
    print(f"{report['overall']['requests']} requests; wrote {out / 'report.json'} and {out / 'report.html'}")
    for name in ("drift", "accuracy"):
        if not report[name]["judged"]:
            print(f"{name} not judged: {report[name]['reason']}")
    for alarm in report["alarms"]:
        print(f"ALARM, {alarm['alarm']}: {alarm['message']}")
    if report["split"]["compared"]:
        print(f"two versions, {report['split']['recommendation']}: {report['split']['reason']}")
    print(f"{'retrain' if report['retrain'] else 'no retraining'}: {report['retrain_reason']}")


if __name__ == "__main__":
    gc.freeze()  # the garbage collector need not search the imported modules: 12 % less time for a million lines
    sys.exit(main())
