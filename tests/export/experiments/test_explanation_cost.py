"""Test how the cost of the activation map is measured, with few runs of the tiny model. No test depends on a time."""

import json
import sys

import numpy as np

from export.experiments import explanation_cost
from infra import documents
from lambda_app.classifier import OUTPUTS, Classifier
from tests.support import tiny_model
from training.source import sha256


def test_copy_without_map_has_the_same_predictions(tmp_path):
    """The copy has no activation map; its outputs are the same to the bit."""
    source, target = tiny_model.write(tmp_path / "tiny.onnx"), tmp_path / "without.onnx"
    explanation_cost.remove_activation_map(source, target)
    before, after = Classifier.load(source), Classifier.load(target)
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 32, 32), np.uint8)
    assert (True, False) == (before.has_activation_map, after.has_activation_map)
    for name in OUTPUTS:
        assert np.array_equal(getattr(before.run(images), name), getattr(after.run(images), name))


def test_added_time_is_the_difference_within_pairs():
    """The added time is the difference within pairs, so that a slow moment, which affects both runs, does not count."""
    rounds = [np.array([[1.0, 9.0, 1.0], [1.5, 9.5, 1.5]])] * 2
    assert {"first_ms": 1.0, "second_ms": 1.5, "added_ms": 0.5, "low_ms": 0.5, "high_ms": 0.5} == (
        explanation_cost.compare_times(rounds)
    )


def test_command_writes_the_figures_of_the_table(tmp_path, monkeypatch):
    """The table has four rows; if the figures belong to another model, a command to measure them replaces it."""
    figures, model = tmp_path / "explanation.json", tiny_model.write(tmp_path / "tiny.onnx")
    monkeypatch.setattr(explanation_cost, "RELEASED", model)
    monkeypatch.setattr(explanation_cost, "FIGURES", figures)
    monkeypatch.setattr(sys, "argv", ["explanation_cost", "--rounds", "2", "--pairs", "2"])
    explanation_cost.main()
    assert {"sha256", "control", "not_requested", "requested", "profile"} == json.loads(figures.read_text()).keys()
    monkeypatch.setattr(documents, "EXPLANATION", figures)
    assert documents.explanation_cost().startswith("Not measured for this model. Run")
    monkeypatch.setattr(documents, "hash_served_model", lambda: sha256(model))
    assert 4 == documents.explanation_cost().count("\n") - 1
