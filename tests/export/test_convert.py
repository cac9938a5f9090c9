"""Test the ONNX file: parity with PyTorch, the contract with serving, metadata, and no traces of the machine."""

import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from scipy.special import softmax

from export.checks.evaluation import make_pytorch_run
from export.convert import build_metadata
from export.files import MODEL
from lambda_app.classifier import Classifier
from tests.export.untrained_models import SIZE, TEMPERATURE, pixels
from tests.support import ROOT
from training.calibration import familiarity
from training.model import count_parameters, load_checkpoint
from training.predictions import Predictions


@pytest.fixture(
    scope="module", params=[("mobilenet_v2_050", 200), ("simple_cnn", 0), ("logistic", 0)], ids=lambda p: p[0]
)
def exported(request, export_untrained):
    """Return a network of three classes, its ONNX file and its calibration.

    The first network has a frozen head of 200 classes.
    """
    return export_untrained(*request.param)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_onnx_matches_pytorch(exported, count):
    """PyTorch and ONNX Runtime agree on drawings to 1e-4, in batches of one, two and seven."""
    module, path, _ = exported
    images = pixels(count, SIZE)
    expected, outputs = make_pytorch_run(module)(images), Classifier.load(path).run(images)
    np.testing.assert_allclose(outputs.probabilities, expected.probabilities, rtol=0, atol=1e-4)
    np.testing.assert_allclose(outputs.logits, expected.logits, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(outputs.familiarity, expected.familiarity, rtol=1e-4, atol=1e-4)
    assert count < 7 or outputs.probabilities.std(axis=0).max() > 0.05  # equal predictions would hide differences


def test_probabilities_are_calibrated(exported):
    """The graph computes the softmax of the logits divided by the temperature."""
    _, path, _ = exported
    outputs = Classifier.load(path).run(pixels(7, SIZE))
    np.testing.assert_allclose(outputs.probabilities, softmax(outputs.logits / TEMPERATURE, axis=1), atol=1e-6)


def test_familiarity_matches_calibration(exported):
    """The graph computes the familiarity that the threshold was fitted on, with and without a frozen head."""
    module, path, calibration = exported
    images = pixels(7, SIZE)
    with torch.inference_mode():
        logits, frozen_logits = (output.numpy() for output in module.network(torch.from_numpy(images)))
    expected = familiarity(Predictions(logits, frozen_logits, np.zeros(7, np.int64)), calibration.familiar)
    np.testing.assert_allclose(Classifier.load(path).run(images).familiarity, expected, rtol=1e-4, atol=1e-4)
    assert expected.std() > 0.01


def test_inputs_and_outputs(exported):
    """The input is uint8 (N, 3, S, S); outputs are probabilities and logits (N, C), familiarity (N,); N is dynamic."""
    _, path, _ = exported
    session = Classifier.load(path).session
    [images] = session.get_inputs()
    assert ("images", "tensor(uint8)", ["N", 3, SIZE, SIZE]) == (images.name, images.type, images.shape)
    expected = [("probabilities", ["N", 3]), ("logits", ["N", 3]), ("familiarity", ["N"])]
    assert expected == [(output.name, output.shape) for output in session.get_outputs()]


def test_weights_are_inside_the_file(exported):
    """The export writes no second file beside the model."""
    _, path, _ = exported
    assert [path] == list(path.parent.iterdir())


def test_file_has_no_traces_of_the_machine(exported):
    """The file contains no path, stack trace or source line of the exporting machine."""
    _, path, _ = exported
    secrets = [str(ROOT), str(Path.home()), "site-packages", "stack_trace", "pkg.torch", 'File "', ".py", "forward("]
    assert [] == [secret for secret in secrets if secret.encode() in path.read_bytes()]


def test_stage_exports_the_checkpoint(project):
    """The stage uses the image size and temperature of the report and the opset of params.yaml."""
    model, checkpoint = load_checkpoint()
    metadata = Classifier.load(MODEL).metadata
    expected = {
        "class_names": ("cat", "dog"),
        "image_size": 32,
        "run_id": checkpoint["run_id"],
        "architecture": "simple_cnn",
        "parameters": count_parameters(model),
        "temperature": 1.7,
        "unknown_threshold": -0.25,
        "data_hash": checkpoint["data_hash"],
        "git_commit": checkpoint["git_commit"],
        "metrics": {
            "test": {"accuracy": 0.5, "confusion_matrix": [[3, 1], [2, 4]]},
            "flowers": {"photos": 3, "unknown_rate": 2 / 3},
        },
    }
    assert expected == {name: getattr(metadata, name) for name in expected}
    assert [20] == [opset.version for opset in onnx.load(MODEL).opset_import if opset.domain == ""]


def test_version_consists_of_date_and_run():
    """The version is the date of the export and the first eight digits of the run ID."""
    checkpoint = {
        "class_names": ["a", "b"],
        "run_id": "0123456789abcdef",
        "train": {"architecture": "any"},
        "data_hash": "",
        "git_commit": "",
    }
    report = {"image_size": 1, "temperature": 1.0, "unknown_threshold": 0.0, "sets": {}, "outliers": {}}
    before = datetime.now(UTC)
    version = build_metadata(checkpoint, report, 1).model_version
    assert re.fullmatch(r"\d{4}\.\d\d\.\d\d-01234567", version)
    assert version[:10] in {f"{moment:%Y.%m.%d}" for moment in (before, datetime.now(UTC))}
