"""The ONNX file: the same numbers at every batch size, all that serving needs to know, nothing about the machine."""

import re
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from scipy.special import softmax

from export.checks.measure import pytorch
from export.convert import MODEL, Exported, describe, export, stamp
from lambda_app.classifier import Classifier
from lambda_app.metadata import Metadata, MetadataError
from tests.export.models import pixels, restamp, untrained
from tests.training.workspace import ROOT
from training.calibration import Calibration, familiarity
from training.model import Predictions, count_parameters, load_checkpoint

SIZE = 64
TEMPERATURE = 1.7
METADATA = Metadata(
    class_names=("cat", "dog", "wild rabbit"),
    image_size=SIZE,
    model_version="2026.01.31-01234567",
    run_id="01234567" * 4,
    architecture="any",
    parameters=123,
    temperature=TEMPERATURE,
    unknown_threshold=-0.25,
    data_hash="f" * 64,
    git_commit="unknown",
    metrics={"test": {"accuracy": 1 / 3, "confusion_matrix": [[1, 2], [3, 4]]}, "ñandú": {"photos": 3}},
)


@pytest.fixture(
    scope="module", params=[("mobilenet_v2_050", 10), ("simple_cnn", 0), ("logistic", 0)], ids=lambda p: p[0]
)
def exported(request, tmp_path_factory):
    """A network of three classes as PyTorch and as the ONNX file of it; the first remembers ten classes more."""
    architecture, frozen_classes = request.param
    calibration = Calibration(
        TEMPERATURE, tuple(np.linspace(0, 1, frozen_classes).tolist()), METADATA.unknown_threshold
    )
    module = Exported(untrained(architecture, 3, SIZE, frozen_classes), calibration).eval()
    program = export(module, SIZE, opset=20)
    stamp(program, METADATA)
    path = tmp_path_factory.mktemp(architecture) / "model.onnx"
    onnx.save(program, path)
    return module, path, calibration


@pytest.mark.parametrize("count", [1, 2, 7])
def test_parity(exported, count):
    """PyTorch and ONNX Runtime agree on drawn photos to 1e-4, one at a time, two and seven."""
    module, path, _ = exported
    images = pixels(count, SIZE)
    expected, outputs = pytorch(module)(images), Classifier.load(path).run(images)
    np.testing.assert_allclose(outputs.probabilities, expected.probabilities, rtol=0, atol=1e-4)
    np.testing.assert_allclose(outputs.logits, expected.logits, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(outputs.familiarity, expected.familiarity, rtol=1e-4, atol=1e-4)


def test_photos_are_told_apart(exported):
    """What the networks say about drawings differs enough for parity to mean something."""
    _, path, _ = exported
    assert Classifier.load(path).run(pixels(7, SIZE)).probabilities.std(axis=0).max() > 0.05


def test_calibrated_inside(exported):
    """Probabilities are the softmax of the logits divided by the temperature."""
    _, path, _ = exported
    outputs = Classifier.load(path).run(pixels(7, SIZE))
    np.testing.assert_allclose(outputs.probabilities, softmax(outputs.logits / TEMPERATURE, axis=1), atol=1e-6)


def test_familiarity_inside(exported):
    """Familiarity is what calibration fitted its threshold to, with a memory and without, and differs by photo."""
    module, path, calibration = exported
    images = pixels(7, SIZE)
    with torch.inference_mode():
        logits, frozen_logits = (output.numpy() for output in module.network(torch.from_numpy(images)))
    expected = familiarity(Predictions(logits, frozen_logits, np.zeros(7, np.int64)), calibration.familiar)
    np.testing.assert_allclose(Classifier.load(path).run(images).familiarity, expected, rtol=1e-4, atol=1e-4)
    assert expected.std() > 0.01


def test_contract(exported):
    """Input `images` is uint8 (N, 3, S, S), N free; probabilities and logits are (N, classes), familiarity (N,)."""
    _, path, _ = exported
    session = Classifier.load(path).session
    [images] = session.get_inputs()
    assert ("images", "tensor(uint8)", ["N", 3, SIZE, SIZE]) == (images.name, images.type, images.shape)
    expected = [("probabilities", ["N", 3]), ("logits", ["N", 3]), ("familiarity", ["N"])]
    assert expected == [(output.name, output.shape) for output in session.get_outputs()]


def test_one_file(exported):
    """The weights are inside: no file lies beside the model."""
    _, path, _ = exported
    assert [path] == list(path.parent.iterdir())


def test_nothing_about_the_machine(exported):
    """No path, no stack trace and no source line of the exporting machine is in the bytes."""
    _, path, _ = exported
    secrets = [str(ROOT), str(Path.home()), "site-packages", "stack_trace", "pkg.torch", 'File "', ".py", "forward("]
    assert [] == [secret for secret in secrets if secret.encode() in path.read_bytes()]


def test_metadata_round_trip(exported):
    """What is stamped on is what serving reads, to the last digit."""
    _, path, _ = exported
    assert METADATA == Classifier.load(path).metadata


@pytest.mark.parametrize("key", [field.name for field in fields(Metadata)])
def test_missing_metadata(project, key):
    """A file that lacks a key does not load; the error names the key."""
    restamp(MODEL, without=key)
    with pytest.raises(MetadataError, match=f"no metadata {key!r}"):
        Classifier.load(MODEL)


def test_stage(project):
    """The stage exports the checkpoint at the report's size and temperature, in the params' opset."""
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
            "flowers": {"photos": 3, "recognised": 2 / 3},
        },
    }
    assert expected == {name: getattr(metadata, name) for name in expected}
    assert [20] == [opset.version for opset in onnx.load(MODEL).opset_import if opset.domain == ""]


def test_version():
    """The version is the day and the run."""
    checkpoint = {
        "class_names": ["a", "b"],
        "run_id": "0123456789abcdef",
        "train": {"architecture": "any"},
        "data_hash": "",
        "git_commit": "",
    }
    report = {"image_size": 1, "temperature": 1.0, "unknown_threshold": 0.0, "sets": {}, "outliers": {}}
    before = datetime.now(UTC)
    version = describe(checkpoint, report, 1).model_version
    assert re.fullmatch(r"\d{4}\.\d\d\.\d\d-01234567", version)
    assert version[:10] in {f"{moment:%Y.%m.%d}" for moment in (before, datetime.now(UTC))}
