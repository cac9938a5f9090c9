"""The gate: a file that says anything but what was trained and evaluated does not pass."""

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from export import verify
from export.convert import MODEL, Exported
from export.verify import METRICS, Check, batch_parity
from lambda_app.classifier import Outputs
from tests.export.models import pixels, restamp, untrained
from tests.training.workspace import ROOT, write_params
from training.evaluate import METRICS as EVALUATED


@pytest.fixture
def change_weight(project):
    """Puts another value in place of one weight of the last layer."""

    def change(value):
        program = onnx.load(MODEL)
        [layer] = [tensor for tensor in program.graph.initializer if list(tensor.dims) == [2, 256]]
        weights = numpy_helper.to_array(layer).copy()
        weights[0, 0] = value
        layer.CopyFrom(numpy_helper.from_array(weights, layer.name))
        onnx.save(program, MODEL)

    return change


@pytest.fixture
def failures(project, capsys):
    """The lines marked FAIL of a gate that must not pass."""

    def failures():
        with pytest.raises(SystemExit, match="broke a gate"):
            verify.main()
        return [line for line in capsys.readouterr().out.splitlines() if line.startswith("FAIL")]

    return failures


def strictly(text):
    """JSON as every reader understands it: no NaN."""
    return json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is not JSON"))


def test_passes(project, capsys):
    """What convert wrote passes, and every figure is kept beside its limit."""
    verify.main()
    lines = capsys.readouterr().out.splitlines()
    assert {"ok  "} == {line[:4] for line in lines}
    checks = strictly(METRICS.read_text())
    assert len(lines) == len(checks)
    assert all(check["measured"] <= check["limit"] for check in checks.values())


def test_batch_sizes(project):
    """One photo at a time, two and seven are compared, then the whole test split."""
    verify.main()
    expected = {
        f"probability difference {of}" for of in ("at batch 1", "at batch 2", "at batch 7", "on the test split")
    }
    assert expected <= set(strictly(METRICS.read_text()))


def test_other_weight(change_weight, failures):
    """One weight that is not the trained one fails every comparison of probabilities."""
    change_weight(1.0)
    assert 4 == len([line for line in failures() if line.startswith("FAIL probability difference ")])


def test_no_number(change_weight, failures):
    """A weight that is no number fails, and the report is still JSON."""
    change_weight(float("nan"))
    assert any(line.startswith("FAIL probability difference on the test split: nan") for line in failures())
    strictly(METRICS.read_text())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("class_names", ["dog", "cat"]),
        ("temperature", 1.9),
        ("unknown_threshold", -9.0),
        ("data_hash", "0" * 64),
        ("metrics", {"test": {"accuracy": 1.0}}),
    ],
)
def test_other_metadata(project, failures, key, value):
    """Metadata that is not what training and evaluation wrote fails, and is named."""
    restamp(MODEL, **{key: value})
    assert any(key in line for line in failures())


def test_other_temperature(project, failures):
    """A file calibrated with another temperature than the report's fails, though it agrees with itself."""
    EVALUATED.write_text(EVALUATED.read_text().replace('"temperature": 1.7', '"temperature": 1.6'))
    assert any(line.startswith("FAIL probability difference on the test split") for line in failures())


def test_too_large(project, failures):
    """A file above the size limit fails, and only by that; measured and limit are said."""
    write_params(project, verify__max_size_mb=1.0)
    size = MODEL.stat().st_size / 1e6
    assert [f"FAIL file size in MB: {size:.3g}, limit 1"] == failures()


def test_exit_code(change_weight):
    """The stage ends with exit code 1 and prints what was measured against what was allowed: DVC stops there."""
    change_weight(1.0)
    command = [sys.executable, "-m", "export.verify"]
    done = subprocess.run(command, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False)
    assert 1 == done.returncode
    assert "FAIL probability difference on the test split: 0." in done.stdout
    assert ", limit 0.0001" in done.stdout
    assert "the exported model broke a gate; see the lines marked FAIL" in done.stderr


@pytest.mark.parametrize(
    ("measured", "expected"), [(0.0, True), (0.1, True), (0.1001, False), (float("nan"), False), (float("inf"), False)]
)
def test_check(measured, expected):
    """A check passes up to its limit; what is no number does not pass."""
    assert expected is Check("any", measured, 0.1).passed


@pytest.mark.parametrize("photo", [0, 4])
def test_no_number_in_any_batch(photo):
    """One NaN fails, in whichever batch it is."""

    def run(images):
        probabilities = module_outputs[: len(images)].copy()
        probabilities[(images == photos[photo]).all(axis=(1, 2, 3))] = np.nan
        return Outputs(probabilities, probabilities)

    photos = pixels(6, 32)
    module_outputs = np.full((6, 2), 0.5, np.float32)
    module = Exported(untrained("logistic", 2), 1.0)
    check = batch_parity(module, SimpleNamespace(run=run), [(image, 0) for image in photos], 2, 1.0)
    assert not check.passed
