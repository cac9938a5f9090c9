"""Test the arguments of `make score` that are refused."""

import pytest

from infra.score import __main__ as program
from tests.support.commands import run_refused

TARGET = ("--queue", "q", "--results", "s3://results/pets/")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["s3://photos/", "--queue", "q", "--results", "s3://results/pets"],
            "argument --results: s3://results/pets: expected the stack's output Results, which ends with /",
        ),
        (
            ["--gather", "notified", "--retry", "--results", "s3://results/pets/"],
            "argument --retry: needs a source and --queue; --gather only reads results",
        ),
        (["photos/", *TARGET], "'photos/': expected s3://BUCKET/PREFIX"),
        (["s3://photos/", "--gather", "notified", *TARGET], "not allowed with argument"),
        (
            ["s3://photos/", "--out", "predictions.csv", *TARGET],
            "'predictions.csv': expected FILE.parquet in a folder that exists",
        ),
    ],
)
def test_main_refuses_bad_arguments(arguments, message, capsys):
    """The command exits with 2 before it sends a request."""
    assert message in run_refused(program.main, arguments, capsys)
