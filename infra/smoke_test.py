"""Checks a live service: that it is healthy, what was just deployed, right about the bundled photos, and well-mannered.

A row a check, PASS or FAIL with its time. Exit code 0 where all passed, 1 where one did not, 2 for bad arguments.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
from botocore.exceptions import BotoCoreError

from infra.aws.parameters import load_parameters
from infra.smoke import target
from infra.smoke.answers import Check
from infra.smoke.checks import function_checks
from infra.smoke.edge import counts, edge_checks
from infra.smoke.expected import Expected, Golden, GoldenError
from infra.smoke.report import as_json, line, summary
from infra.smoke.run import Row, smoke
from infra.smoke.settings import settings_check
from infra.smoke.url import Url


def main(arguments: list[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.environment:
        _take_settings(options)
    try:
        auth = target.signer(options)
        golden = Golden.read()
    except (ValueError, BotoCoreError, GoldenError) as error:
        parser.error(str(error))
    version = options.version or golden.model_version
    expected = Expected(golden, version, commit=options.commit, image=options.image)
    rows = []
    try:
        for row in _rows(options, auth, expected):
            print(line(row), flush=True)
            rows.append(row)
        print(summary(rows))
        if options.json:
            options.json.write_text(as_json(options.url, rows))
    except OSError as error:
        parser.error(f"--json {options.json}: {error.strerror}; expected a file that can be written")
    except KeyboardInterrupt:
        return 130
    return 0 if all(row.passed for row in rows) else 1


def _take_settings(options: argparse.Namespace) -> None:
    """Set what the environment's parameter file says and no option overrides."""
    parameters = load_parameters(options.environment)
    options.auth = options.auth or parameters["UrlAuthType"]
    options.origin = options.origin or parameters["CorsOrigin"] or None


def _rows(options: argparse.Namespace, auth: httpx2.Auth | None, expected: Expected) -> Iterator[Row]:
    with (
        Url(options.url, auth=auth, timeout_s=options.timeout) as ask,
        Url(options.url, auth=None, timeout_s=options.timeout) as unsigned,
    ):
        yield from smoke(ask, _checks(options, ask, unsigned, expected), wait_s=options.wait)


def _checks(options: argparse.Namespace, ask: Url, unsigned: Url, expected: Expected) -> Iterator[Check]:
    yield from function_checks(ask, expected)
    if not target.is_on_aws(options.url):  # where one instance answers
        yield Check("GET /metrics counts", lambda: counts(ask, expected))
    if options.environment:
        yield settings_check(options.environment)
    yield from edge_checks(ask, unsigned, private=target.is_private(options), origin=options.origin)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.smoke_test", description=__doc__)
    target.add_arguments(parser)
    parser.add_argument("--environment", choices=["dev", "prod"], help="compare with infra/aws/ENVIRONMENT.yaml")
    parser.add_argument("--version", metavar="MODEL_VERSION", help="expected, if not that of golden.json")
    parser.add_argument("--commit", metavar="SHA", default="", help="expected in /model/info")
    parser.add_argument("--image", metavar="URI", default="", help="expected in /model/info")
    parser.add_argument("--origin", type=target.url, help="the site that CORS allows")
    parser.add_argument("--wait", metavar="SECONDS", type=target.seconds, default=60.0, help="for health; 60")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the rows there, too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
