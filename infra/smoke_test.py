"""Checks a live service: that it is healthy, what was just deployed, right about the bundled photos, and well-mannered.

A row a check, PASS or FAIL with its time. Exit code 0 where all passed, 1 where one did not, 2 for bad arguments.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
from botocore.exceptions import BotoCoreError

from infra.local.sigv4 import SigV4
from infra.smoke.answers import Check
from infra.smoke.checks import function_checks
from infra.smoke.edge import counts, edge_checks
from infra.smoke.expected import Expected, Golden, GoldenError
from infra.smoke.report import as_json, line, summary
from infra.smoke.run import Row, smoke
from infra.smoke.url import Url

AWS = ".on.aws"  # where function URLs are


def main(arguments: list[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        auth = SigV4(options.url, profile=options.profile) if _is_private(options) else None
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


def _rows(options: argparse.Namespace, auth: httpx2.Auth | None, expected: Expected) -> Iterator[Row]:
    with (
        Url(options.url, auth=auth, timeout_s=options.timeout) as ask,
        Url(options.url, auth=None, timeout_s=options.timeout) as unsigned,
    ):
        yield from smoke(ask, _checks(options, ask, unsigned, expected), wait_s=options.wait)


def _checks(options: argparse.Namespace, ask: Url, unsigned: Url, expected: Expected) -> Iterator[Check]:
    yield from function_checks(ask, expected)
    if not _is_on_aws(options.url):  # where one instance answers
        yield Check("GET /metrics counts", lambda: counts(ask, expected))
    yield from edge_checks(ask, unsigned, private=_is_private(options), origin=options.origin)


def _is_private(options: argparse.Namespace) -> bool:
    auth = options.auth or ("AWS_IAM" if options.profile or _is_on_aws(options.url) else "NONE")
    return bool(auth == "AWS_IAM")


def _is_on_aws(url: str) -> bool:
    return (urlsplit(url).hostname or "").endswith(AWS)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.smoke_test", description=__doc__)
    parser.add_argument("url", type=_url, help="e.g. http://127.0.0.1:8000")
    parser.add_argument("--auth", choices=["AWS_IAM", "NONE"], help="AWS_IAM signs; so do --profile and *.on.aws")
    parser.add_argument("--profile", metavar="NAME", help="whose credentials sign, if not those of the environment")
    parser.add_argument("--version", metavar="MODEL_VERSION", help="expected, if not that of golden.json")
    parser.add_argument("--commit", metavar="SHA", default="", help="expected in /model/info")
    parser.add_argument("--image", metavar="URI", default="", help="expected in /model/info")
    parser.add_argument("--origin", type=_url, help="the site that CORS allows")
    parser.add_argument("--wait", metavar="SECONDS", type=_seconds, default=60.0, help="for health; 60 by default")
    parser.add_argument("--timeout", metavar="SECONDS", type=_seconds, default=20.0, help="of one request; 20")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the rows there, too")
    return parser


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
        good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.path.strip("/") or parts.query or parts.fragment:
        raise argparse.ArgumentTypeError(f"{value!r}: expected http:// or https:// and a host, no path")
    return value.rstrip("/")


def _seconds(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{value!r}: expected a positive number of seconds")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
