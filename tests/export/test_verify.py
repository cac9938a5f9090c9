"""The verdict: which candidate is released, and a gate for everything that may be wrong with it."""

import json
import subprocess
import sys
from contextlib import chdir, redirect_stdout, suppress
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from export import verify
from export.checks.gates import Gate, by_set, complaint, table
from export.checks.measure import latency, score
from export.checks.parity import batch_parity
from export.checks.quality import better_than_guessing
from export.choice import choose
from export.quantize import CANDIDATES, PRECISIONS
from export.verify import METRICS
from lambda_app.classifier import Outputs
from tests.drawing import LABELS
from tests.export.models import LENIENT, pixels, restamp
from tests.training.workspace import ROOT, write_params
from training import config
from training.evaluate import METRICS as EVALUATED


@pytest.fixture
def change_weight(candidates):
    """Puts another value in place of one weight of fp32's last layer."""

    def change(value):
        path = CANDIDATES / "fp32.onnx"
        program = onnx.load(path)
        [layer] = [tensor for tensor in program.graph.initializer if sorted(tensor.dims) == [3, 256]]
        weights = numpy_helper.to_array(layer).copy()
        weights.flat[0] = value
        layer.CopyFrom(numpy_helper.from_array(weights, layer.name))
        onnx.save(program, path)

    return change


MAXIMA = ("verify__max_calibration_error", "verify__max_size_mb", "verify__max_latency_ratio")


@pytest.fixture
def broken(candidates, capsys):
    """The names of the gates that break, with the limits given in place of the lenient ones."""

    def broken(**limits):
        write_params(candidates, prepare__train_share=0.6, **(LENIENT | limits))
        with pytest.raises(SystemExit) as stopped:
            verify.main()
        assert "gates are broken" in stopped.value.code
        names = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.endswith(" BROKEN")]
        told = dict(line.strip().split(": ", 1) for line in stopped.value.code.splitlines()[1:])
        assert names == list(told)
        assert all(key.replace("__", ".") in " ".join(told.values()) for key in limits if key in MAXIMA)
        return names

    return broken


@pytest.fixture(scope="module")
def verified(quantized, tmp_path_factory):
    """What the stage wrote and printed about two candidates that keep every limit."""
    printed = StringIO()
    with chdir(quantized), redirect_stdout(printed):
        verify.main()
    return strictly((quantized / METRICS).read_text()), printed.getvalue()


def run(folder):
    command = [sys.executable, "-m", "export.verify"]
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def strictly(text):
    """JSON as every reader understands it: no NaN."""
    return json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is not JSON"))


# --- what is written


def test_gates_pass(verified):
    """Every gate of the table is in the JSON: what was expected, what was measured, the verdict."""
    report, printed = verified
    assert {"ok"} == {gate["verdict"] for gate in report["gates"].values()}
    for name, gate in report["gates"].items():
        assert {"expected", "measured", "verdict"} == set(gate)
        [line] = [line for line in printed.splitlines() if line.startswith(f"{name} ")]
        assert line.endswith(" ok")
        assert gate["expected"] in line


def test_keys_have_no_spaces(verified):
    """So that `dvc metrics` and a query can name them."""

    def keys(value):
        return [k for key, inner in value.items() for k in (key, *keys(inner))] if isinstance(value, dict) else []

    assert [] == [key for key in keys(verified[0]) if " " in key]


def test_both_candidates_are_measured(verified):
    """Accuracy, calibration and unknown rate on each set, recognised outliers, size and latency."""
    for figures in verified[0]["candidates"].values():
        assert {"size_mb", "latency_ms", "sets", "outliers"} == set(figures)
        assert {"test": 34, "abroad": 24} == {name: values["photos"] for name, values in figures["sets"].items()}
        assert {"noise": 8} == {name: values["photos"] for name, values in figures["outliers"].items()}


def test_evaluated_accuracy(verified, quantized):
    """fp32's accuracy is the one that training's evaluation measured."""
    evaluated = json.loads((quantized / EVALUATED).read_text())["sets"]["test"]["accuracy"]
    assert evaluated == verified[0]["candidates"]["fp32"]["sets"]["test"]["accuracy"]


def test_released_is_said(verified):
    """The candidate that was chosen and why are in the JSON and on the terminal."""
    report, printed = verified
    assert report["released"] in {"int8", "fp16"}
    assert f"released: {report['released']}, because {report['reason']}" in printed


# --- every gate can break


@pytest.mark.parametrize(
    ("gate", "limits"),
    [
        ("accuracy_abroad", {"verify__min_accuracy": {"abroad": 0.9}}),
        ("calibration_error_test", {"verify__max_calibration_error": 0.0}),
        ("size_mb", {"verify__max_size_mb": 0.01}),
        ("latency_ratio", {"verify__max_latency_ratio": 1e-6}),
        ("same_class_grey", {"verify__min_agreement": 1.0, "verify__behavior_photos": 34}),
    ],
)
def test_limit_of_params(broken, gate, limits):
    """What does not keep a limit of params.yaml breaks its gate, and the message names the key."""
    assert gate in broken(**limits)


@pytest.mark.parametrize(
    ("threshold", "gate", "limits"),
    [
        (1e6, "unknown_rate_test", {"verify__max_unknown_rate": {"test": 0.99}}),
        (-1e6, "recognised_noise", {"verify__min_unknown_rate": {"noise": 0.01}}),
    ],
)
def test_threshold(broken, threshold, gate, limits):
    """A threshold above every photo calls ours unknown, one below them recognises no outlier: each breaks one gate."""
    report = json.loads(EVALUATED.read_text())
    EVALUATED.write_text(json.dumps(report | {"unknown_threshold": threshold}))
    for name in PRECISIONS:
        restamp(CANDIDATES / f"{name}.onnx", unknown_threshold=threshold)
    assert [gate] == broken(**limits)


SHOWN = ("accuracy_", "unknown_rate_", "recognised_", "calibration_error_", "same_class_")
UNREACHABLE = {"verify__min_accuracy": {"test": 1.0, "abroad": 1.0}, "verify__max_calibration_error": 0.0}


def judged(**limits):
    """The gates of quality that the stage had with these limits, none of which the candidates keep; what it printed."""
    write_params(Path(), prepare__train_share=0.6, **LENIENT | UNREACHABLE | limits)
    with suppress(SystemExit):
        verify.main()
    report = json.loads(METRICS.read_text())
    return [name for name in report["gates"] if name.startswith(SHOWN)], report["not_judged"]


def test_other_classes(candidates):
    """Limits that are another task's stop nothing; that they are not judged is said."""
    said = f"quality; the limits are for ant and bee, the classes are {' and '.join(LABELS)}"
    assert ([], [said]) == judged(verify__classes=["ant", "bee"])


def test_same_classes(candidates):
    """The order in which the classes are written, and their case, are no matter."""
    gates, said = judged(verify__classes=[name.title() for name in reversed(LABELS)])
    assert ("accuracy_test" in gates, []) == (True, said)


def test_small_sets(candidates):
    """Sets of fewer photos than `min_photos` stop nothing; each is named."""
    gates, said = judged(verify__min_photos=30)
    assert {"accuracy_test", "calibration_error_test", "same_class_mirrored"} <= set(gates)
    assert not {"accuracy_abroad", "recognised_noise"} & set(gates)
    assert [
        "abroad; it has 24 photos, and the limits want 30",
        "noise; it has 8 photos, and the limits want 30",
    ] == said


def test_small_test_split(candidates):
    """Nor is anything judged that is measured on a small test split."""
    assert [] == judged(verify__min_photos=35)[0]


@pytest.mark.parametrize(
    ("right", "labels", "passed"),
    [
        (12, [0, 1, 2] * 6, True),
        (9, [0, 1, 2] * 6, False),
        (30, [0] * 30 + [1] * 4, False),
        (34, [0] * 30 + [1] * 4, True),
    ],
)
def test_better_than_guessing(right, labels, passed):
    """More is right than if the most frequent class were always said, and not by luck."""
    assert passed == better_than_guessing({"accuracy": right / len(labels)}, labels).passed


def test_other_weight(change_weight, broken):
    """One weight that is not the trained one breaks every comparison of fp32's probabilities with PyTorch's."""
    change_weight(5.0)
    compared = ("batch_1", "batch_2", "batch_7", "test", "abroad", "noise")
    assert {f"probability_difference_{of}" for of in compared} <= set(broken())


def test_no_number(change_weight, broken):
    """A weight that is no number breaks them too, and the report is still JSON."""
    change_weight(float("nan"))
    assert "probability_difference_test" in broken()
    assert strictly(METRICS.read_text())["gates"]["probability_difference_test"]["measured"] is None


@pytest.mark.parametrize("name", PRECISIONS)
@pytest.mark.parametrize(("key", "value"), [("class_names", ["dog", "cat", "rabbit"]), ("data_hash", "0" * 64)])
def test_other_metadata(broken, name, key, value):
    """Metadata that is not what training and evaluation wrote breaks the gate of that file alone."""
    restamp(CANDIDATES / f"{name}.onnx", **{key: value})
    assert [f"metadata_unlike_{name}"] == broken()


def test_exit_code(change_weight, candidates):
    """The stage ends with exit code 1, its table on stdout and what to look at on stderr: DVC stops there."""
    change_weight(5.0)
    done = run(candidates)
    assert 1 == done.returncode
    [line] = [line for line in done.stdout.splitlines() if line.startswith("probability_difference_test ")]
    assert ["<=", "0.0001", "BROKEN"] == [
        word for word in line.split()[1:] if not word[0].isdigit() or word == "0.0001"
    ]
    assert "probability_difference_test: verify.max_probability_difference in params.yaml" in done.stderr


# --- the choice


def figures(accuracy, latency_ms, abroad=0.9):
    sets = {"test": {"accuracy": accuracy, "photos": 1000}, "abroad": {"accuracy": abroad, "photos": 1000}}
    return {"latency_ms": latency_ms, "sets": sets}


LIMITS = replace(config.load(config.Verify, ROOT / "params.yaml"), max_accuracy_loss=0.01, min_photos=1000)
SLOWER = "int8 takes 1.25 times as long as fp32"
WORSE = "int8 loses 2.00 % of test; verify.max_accuracy_loss allows 1.00 %"


@pytest.mark.parametrize(
    ("int8", "fp16", "released", "reason"),
    [
        (figures(0.99, 2.0), 0.99, "int8", "int8 loses 0.00 % of a set at most and takes 0.50 times as long as fp32"),
        (figures(0.98, 2.0), 0.99, "int8", "int8 loses 1.00 % of a set at most and takes 0.50 times as long as fp32"),
        (figures(0.99, 4.0), 0.99, "fp16", "int8 takes 1.00 times as long as fp32; fp16 loses 0.00 % of a set at most"),
        (figures(0.99, 5.0), 0.98, "fp16", f"{SLOWER}; fp16 loses 1.00 % of a set at most"),
        (figures(0.97, 2.0), 0.99, "fp16", f"{WORSE}; fp16 loses 0.00 % of a set at most"),
        (figures(0.97, 2.0), 0.97, "fp32", f"{WORSE}; {WORSE.replace('int8', 'fp16')}"),
        (
            figures(0.99, 2.0, abroad=0.8),
            0.99,
            "fp16",
            "int8 loses 10.00 % of abroad; verify.max_accuracy_loss allows 1.00 %; fp16 loses 0.00 % of a set at most",
        ),
    ],
)
def test_choice(int8, fp16, released, reason):
    """int8 if it is faster and loses no more than allowed on any set, else fp16 if it loses no more, else fp32."""
    candidates = {"fp32": figures(0.99, 4.0), "fp16": figures(fp16, 4.0), "int8": int8}
    assert (released, reason) == choose(candidates, LIMITS)


def test_choice_of_few_photos():
    """On sets that are too small to be judged int8 is not trusted, and fp16 not doubted, whatever they score."""
    candidates = {"fp32": figures(0.99, 4.0), "fp16": figures(0.9, 4.0), "int8": figures(0.99, 2.0)}
    expected = "no set has the 1001 photos that it takes to trust int8"
    assert ("fp16", expected) == choose(candidates, replace(LIMITS, min_photos=1001))


def test_choice_beside_a_small_set():
    """A small set beside a large one has no voice."""
    candidates = {name: figures(0.99, 4.0, abroad=0.9) for name in ("fp32", "fp16")} | {
        "int8": figures(0.99, 2.0, abroad=0.1)
    }
    for candidate in candidates.values():
        candidate["sets"]["abroad"]["photos"] = 999
    assert "int8" == choose(candidates, LIMITS)[0]


# --- the parts


@pytest.mark.parametrize(
    ("measured", "at_least", "expected"),
    [
        (0.1, False, True),
        (0.1001, False, False),
        (0.1, True, True),
        (0.0999, True, False),
        (float("nan"), False, False),
        (float("nan"), True, False),
    ],
)
def test_gate(measured, at_least, expected):
    """A gate holds up to its limit, or from it on; what is no number breaks it."""
    assert expected is Gate("any", measured, 0.1, "here", at_least).passed


def test_table():
    """One line a gate under the four columns."""
    gates = [Gate("size_mb", 4.5, 10, "there"), Gate("accuracy_test", 0.5, 0.9, "here", at_least=True)]
    lines = [line.split() for line in table(gates).splitlines()]
    expected = [
        ["gate", "expected", "measured", "verdict"],
        ["size_mb", "<=", "10", "4.5", "ok"],
        ["accuracy_test", ">=", "0.9", "0.5", "BROKEN"],
    ]
    assert expected == lines
    assert "1 of 2 gates are broken; what to look at:\n  accuracy_test: here" == complaint(gates)


def test_a_set_that_is_not_here_is_skipped(capsys):
    """A limit for a set that was not measured breaks nothing, and is said."""
    gates = by_set("accuracy", "min_accuracy", {"test": 0.9, "abroad": 0.8}, {"test": 0.95})
    assert [Gate("accuracy_test", 0.95, 0.9, "verify.min_accuracy.test in params.yaml", at_least=True)] == gates
    assert (
        "accuracy_abroad: skipped, verify.min_accuracy has a limit for a set that is not judged, or not here"
        in capsys.readouterr().out
    )


def test_score_of_no_number():
    """A photo whose probabilities are no numbers counts as of the first class, without confidence."""
    outputs = Outputs(np.array([[np.nan, np.nan], [0, 1]], np.float32), np.zeros((2, 2)), np.array([np.nan, 1.0]))
    expected = {"photos": 2, "accuracy": 0.5, "calibration_error": 0.0, "unknown_rate": 0.0}
    assert expected == score(outputs, np.array([1, 1]), 0.0)


def test_latency_takes_turns():
    """Every candidate is asked as often as the others, one after the other."""
    asked = []
    runs = {name: lambda _, name=name: asked.append(name) for name in ("fp32", "int8")}
    times = latency(runs, pixels(1, 32), repeats=4)
    assert ["fp32", "int8"] * 7 == asked  # three to warm up
    assert 0 < min(times.values())


@pytest.mark.parametrize("photo", [0, 4])
def test_no_number_in_any_batch(photo):
    """One NaN breaks the gate, in whichever batch it is."""
    photos = pixels(6, 32)

    def half(images):
        return Outputs(np.full((len(images), 2), 0.5, np.float32), np.zeros((len(images), 2)), np.zeros(len(images)))

    def unsure(images):
        outputs = half(images)
        outputs.probabilities[(images == photos[photo]).all(axis=(1, 2, 3))] = np.nan
        return outputs

    assert [False] * 3 == [gate.passed for gate in batch_parity(half, unsure, photos, 1.0)]
    assert [True] * 3 == [gate.passed for gate in batch_parity(half, half, photos, 1.0)]
