"""Tests of the arguments of `make score` that would lose a job or be ignored."""

import pytest

from infra.score import __main__ as program


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
    ],
)
def test_arguments_without_an_effect_are_refused(arguments, message, capsys):
    """The command exits with 2 before it sends a request."""
    with pytest.raises(SystemExit, match="2"):
        program.main(arguments)
    assert message in capsys.readouterr().err
