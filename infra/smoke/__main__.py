"""Check a live service: its health, the deployed version, predictions for the bundled photos, and errors.

Prints PASS or FAIL for each check. Exits with 0 if all checks pass, 1 if one fails, and 2 if an argument is invalid.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx2
from botocore.exceptions import BotoCoreError

from infra.aws.stack import ENVIRONMENTS, load_parameters
from infra.smoke import target
from infra.smoke.checks import function_checks, health_check, metrics_count
from infra.smoke.golden import Expected, Golden, GoldenError
from infra.smoke.messages import Ask
from infra.smoke.runner import Check, CheckResult, run_checks
from infra.smoke.url import UrlClient, access_checks, compare_settings

NAME_WIDTH = 49  # of the longest fixed name
MAX_VALUE_CHARACTERS = 160  # of a value; enough to recognize an HTML page


def main(arguments: list[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.environment:
        _apply_parameters(options)
    try:
        auth = target.signer(options)
        golden = Golden.read()
    except (ValueError, BotoCoreError, GoldenError) as error:
        parser.error(str(error))
    version = options.version or golden.model_version
    expected = Expected(golden, version, commit=options.commit, image=options.image)
    results = []
    try:
        for result in _run(options, auth, expected):
            print(format_result(result), flush=True)
            results.append(result)
    except KeyboardInterrupt:
        return 130
    passed = sum(result.passed for result in results)
    print(f"{passed} of {len(results)} checks passed, {sum(result.seconds for result in results):.1f} s")
    if options.json:
        report = {"url": options.url, "passed": passed == len(results), "checks": [asdict(each) for each in results]}
        try:
            options.json.write_text(json.dumps(report, indent=2) + "\n")
        except OSError as error:
            parser.error(f"--json {options.json}: {error.strerror}; expected a file that can be written")
    return 0 if passed == len(results) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.smoke", description=__doc__)
    target.add_arguments(parser)
    parser.add_argument("--environment", choices=ENVIRONMENTS, help="compare with infra/aws/ENVIRONMENT.yaml")
    parser.add_argument("--version", metavar="MODEL_VERSION", help="expected version; default: that of golden.json")
    parser.add_argument("--commit", metavar="SHA", default="", help="expected commit in /model/info")
    parser.add_argument("--image", metavar="URI", default="", help="expected image in /model/info")
    parser.add_argument("--origin", type=target.parse_url, help="the site that CORS allows")
    parser.add_argument(
        "--wait", metavar="SECONDS", type=target.parse_seconds, default=60.0, help="for health; default: 60"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the results to this file")
    return parser


def _apply_parameters(options: argparse.Namespace) -> None:
    """Take settings from the environment's parameter files, unless an option overrides them."""
    parameters = load_parameters(options.environment)
    options.auth = options.auth or parameters["UrlAuthType"]
    options.origin = options.origin or parameters["CorsOrigin"] or None


def _run(options: argparse.Namespace, auth: httpx2.Auth | None, expected: Expected) -> Iterator[CheckResult]:
    with (
        UrlClient(options.url, auth=auth, timeout_s=options.timeout) as ask,
        UrlClient(options.url, auth=None, timeout_s=options.timeout) as ask_unsigned,
    ):
        checks = _checks(options, ask, ask_unsigned, expected)
        yield from run_checks(health_check(ask), checks, wait_s=options.wait)


def _checks(options: argparse.Namespace, ask: Ask, ask_unsigned: Ask, expected: Expected) -> Iterator[Check]:
    yield from function_checks(ask, expected)
    if not target.is_on_aws(options.url) and not options.environment:  # on AWS, several instances may answer
        yield Check("GET /metrics counts", lambda: metrics_count(ask, expected))
    if options.environment:
        yield Check(f"settings of {options.environment}", lambda: compare_settings(options.environment))
    yield from access_checks(ask, ask_unsigned, private=target.is_private(options), origin=options.origin)


def format_result(result: CheckResult) -> str:
    """Return one line; for a failed check it shows the fields that differ."""
    verdict = "PASS" if result.passed else "FAIL"
    line = f"{verdict}  {result.check:{NAME_WIDTH}} {result.seconds * 1000:7.0f} ms"
    return line if result.passed else f"{line}  {_difference(result)}"


def _difference(result: CheckResult) -> str:
    parts = []
    for name in {**result.expected, **result.actual}:
        expected, actual = (_shorten(side[name]) if name in side else None for side in (result.expected, result.actual))
        if expected is None:
            parts.append(f"{name}: {actual}")
        elif actual is None or result.expected[name] != result.actual[name]:
            parts.append(f"{name}: expected {expected}, got {actual or 'none'}")
    return "; ".join(parts)


def _shorten(value: Any) -> str:
    """Return the value as one line of JSON."""
    line = json.dumps(value, ensure_ascii=False)
    return line if len(line) <= MAX_VALUE_CHARACTERS else f"{line[:MAX_VALUE_CHARACTERS]}…"


if __name__ == "__main__":
    sys.exit(main())
