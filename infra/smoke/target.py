"""Parse the command-line arguments that name a live service: its URL, and whether requests to it are signed."""

import argparse
import math
from collections.abc import Callable
from functools import partial
from urllib.parse import urlsplit

import httpx2

from infra.emulator.sigv4 import SigV4

FUNCTION_URL_SUFFIX = ".on.aws"
CLOUDFRONT_SUFFIX = ".cloudfront.net"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", type=parse_url, help="base URL, for example http://127.0.0.1:8000")
    parser.add_argument(
        "--auth", choices=["AWS_IAM", "NONE"], help="AWS_IAM signs requests; default for *.on.aws and with --profile"
    )
    parser.add_argument("--profile", metavar="NAME", help="AWS profile that signs; default: the environment's keys")
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=parse_seconds, default=20.0, help="per request; %(default)s"
    )


def signer(options: argparse.Namespace) -> httpx2.Auth | None:
    """Return the signer of requests, or None for a public service.

    Raise `ValueError` or `BotoCoreError` if a private service has no credentials.
    """
    return SigV4(options.url, profile=options.profile) if is_private(options) else None


def is_private(options: argparse.Namespace) -> bool:
    auth = options.auth or ("AWS_IAM" if options.profile or is_function_url(options.url) else "NONE")
    return bool(auth == "AWS_IAM")


def is_on_aws(url: str) -> bool:
    return is_function_url(url) or (urlsplit(url).hostname or "").endswith(CLOUDFRONT_SUFFIX)


def is_function_url(url: str) -> bool:
    return (urlsplit(url).hostname or "").endswith(FUNCTION_URL_SUFFIX)


def parse_url(value: str) -> str:
    """Return a base URL without its trailing slash. Raise `ArgumentTypeError` if it is not one."""
    try:
        parts = urlsplit(value)
        is_valid = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        is_valid = False
    if not is_valid or parts.path.strip("/") or parts.query or parts.fragment:
        raise argparse.ArgumentTypeError(f"{value!r}: expected http:// or https:// and a host, no path")
    return value.rstrip("/")


def parse_number(value: str, *, allowed: Callable[[float], bool], expected: str) -> float:
    """Return a number. Raise `ArgumentTypeError` if the value is not one, or not an allowed one."""
    try:
        found = float(value)
    except ValueError:
        found = math.nan
    if not (math.isfinite(found) and allowed(found)):
        raise argparse.ArgumentTypeError(f"{value!r}: expected {expected}")
    return found


parse_seconds = partial(parse_number, allowed=lambda found: found > 0, expected="a positive number of seconds")
