"""The service that a command line names: its URL, and whether requests to it are signed."""

import argparse
from urllib.parse import urlsplit

import httpx2

from infra.emulator.sigv4 import SigV4

AWS = ".on.aws"  # where function URLs are


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", type=url, help="e.g. http://127.0.0.1:8000")
    parser.add_argument("--auth", choices=["AWS_IAM", "NONE"], help="AWS_IAM signs; so do --profile and *.on.aws")
    parser.add_argument("--profile", metavar="NAME", help="whose credentials sign, if not those of the environment")
    parser.add_argument("--timeout", metavar="SECONDS", type=seconds, default=20.0, help="of one request; 20")


def signer(options: argparse.Namespace) -> httpx2.Auth | None:
    """Raises ValueError or botocore's BotoCoreError where there is nothing to sign with."""
    return SigV4(options.url, profile=options.profile) if is_private(options) else None


def is_private(options: argparse.Namespace) -> bool:
    auth = options.auth or ("AWS_IAM" if options.profile or is_on_aws(options.url) else "NONE")
    return bool(auth == "AWS_IAM")


def is_on_aws(url: str) -> bool:
    return (urlsplit(url).hostname or "").endswith(AWS)


def url(value: str) -> str:
    try:
        parts = urlsplit(value)
        good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.path.strip("/") or parts.query or parts.fragment:
        raise argparse.ArgumentTypeError(f"{value!r}: expected http:// or https:// and a host, no path")
    return value.rstrip("/")


def seconds(value: str) -> float:
    return positive(value, "a positive number of seconds")


def positive(value: str, expected: str = "a positive number") -> float:
    try:
        number = float(value)
    except ValueError:
        number = 0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{value!r}: expected {expected}")
    return number
