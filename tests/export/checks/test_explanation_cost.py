"""Test the measurement of what the activation map costs, with few runs of the tiny model. No test depends on a time."""

import json
import sys

import numpy as np

from export.checks import explanation_cost
from infra import documents
from lambda_app.classifier import OUTPUTS, Classifier
from tests import tiny_model


def test_copy_without_map_has_the_same_predictions(tmp_path):
    """The copy is a file as released before maps existed."""
    source, target = tiny_model.write(tmp_path / "tiny.onnx"), tmp_path / "without.onnx"
    explanation_cost.remove_activation_map(source, target)
    before, after = Classifier.load(source), Classifier.load(target)
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 32, 32), np.uint8)
    assert (True, False) == (before.has_activation_map, after.has_activation_map)
    for name in OUTPUTS:
        assert np.array_equal(getattr(before.run(images), name), getattr(after.run(images), name))


def test_added_time_is_that_of_the_second_action():
    """The difference is that of runs beside each other, so that a slow moment counts for both."""
    rounds = [np.array([[1.0, 9.0, 1.0], [1.5, 9.5, 1.5]])] * 2
    assert {"first_ms": 1.0, "second_ms": 1.5, "added_ms": 0.5, "low_ms": 0.5, "high_ms": 0.5} == (
        explanation_cost.compare(rounds)
    )


def test_command_writes_the_figures_of_the_table(tmp_path, monkeypatch):
    """The table in the API guide has a row for each comparison, and one for the branch."""
    figures = tmp_path / "explanation.json"
    monkeypatch.setattr(explanation_cost, "MODEL", tiny_model.write(tmp_path / "tiny.onnx"))
    monkeypatch.setattr(explanation_cost, "FIGURES", figures)
    monkeypatch.setattr(sys, "argv", ["explanation_cost", "--rounds", "2", "--pairs", "2"])
    explanation_cost.main()
    assert {"control", "not_asked", "asked", "profile"} == json.loads(figures.read_text()).keys()
    monkeypatch.setattr(documents, "EXPLANATION", figures)
    assert 4 == documents.explanation_cost().count("\n") - 1
