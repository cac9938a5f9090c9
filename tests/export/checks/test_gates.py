"""Test gates, their table and the report of failures."""

import pytest

from export.checks.gates import Gate, describe_failures, format_table, make_set_gates


@pytest.mark.parametrize(
    ("measured", "at_least", "passed"),
    [
        (0.1, False, True),
        (0.1001, False, False),
        (0.1, True, True),
        (0.0999, True, False),
        (float("nan"), False, False),
        (float("nan"), True, False),
    ],
)
def test_gate_includes_its_limit(measured, at_least, passed):
    """A gate passes at its limit and fails beyond it; NaN always fails."""
    assert passed is Gate("any", measured, 0.1, "here", at_least).passed


def test_gate_table_has_a_line_per_gate():
    """The table has four columns, and the failures are listed with their hints."""
    gates = [Gate("size_mb", 4.5, 10, "there"), Gate("accuracy_test", 0.5, 0.9, "here", at_least=True)]
    lines = [line.split() for line in format_table(gates).splitlines()]
    expected = [
        ["gate", "expected", "measured", "verdict"],
        ["size_mb", "<=", "10", "4.5", "ok"],
        ["accuracy_test", ">=", "0.9", "0.5", "BROKEN"],
    ]
    assert expected == lines
    assert "1 of 2 gates failed; check:\n  accuracy_test: here" == describe_failures(gates)


def test_set_gates_skip_absent_sets(capsys):
    """A limit for a set that was not measured makes no gate, and a line is printed."""
    gates = make_set_gates("accuracy", "min_accuracy", {"test": 0.9, "abroad": 0.8}, {"test": 0.95})
    assert [Gate("accuracy_test", 0.95, 0.9, "verify.min_accuracy.test in params.yaml", at_least=True)] == gates
    expected = (
        "accuracy_abroad: skipped, because verify.min_accuracy has a limit for a set that is absent or not judged"
    )
    assert expected in capsys.readouterr().out
