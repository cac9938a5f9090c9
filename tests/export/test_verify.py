"""Test the verify stage: its report, and a gate for every way in which a candidate can be wrong."""

import json
from contextlib import chdir, redirect_stdout, suppress
from io import StringIO
from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

from export import verify
from export.files import CANDIDATES, PRECISIONS
from tests.export.untrained_models import LENIENT, restamp
from tests.support.drawing import LABELS
from tests.training.workspace import write_params
from training.figures import METRICS, read_figures, write_figures


@pytest.fixture
def change_weight(candidates):
    """Return a function that replaces one weight of the last layer of fp32."""

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
def find_broken(candidates, capsys):
    """Return a function that runs the stage with other limits and returns the names of the broken gates."""

    def find(**limits):
        write_params(candidates, prepare__train_share=0.6, **(LENIENT | limits))
        with pytest.raises(SystemExit) as exit_info:
            verify.main()
        assert "gates failed" in exit_info.value.code
        names = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.endswith(" BROKEN")]
        hints = dict(line.strip().split(": ", 1) for line in exit_info.value.code.splitlines()[1:])
        assert names == list(hints)
        assert all(key.replace("__", ".") in " ".join(hints.values()) for key in limits if key in MAXIMA)
        return names

    return find


@pytest.fixture(scope="module")
def verified(quantized, tmp_path_factory):
    """Return the report and the output of the stage for candidates that keep every limit."""
    printed = StringIO()
    with chdir(quantized), redirect_stdout(printed):
        verify.main()
    return parse_strictly((quantized / METRICS / "verify.json").read_text()), printed.getvalue()


def parse_strictly(text):
    """Parse JSON, and fail the test on NaN or infinity, which the standard excludes."""
    return json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is not JSON"))


# --- report


def test_report_contains_every_gate(verified):
    """The JSON has expectation, measurement and verdict of every gate in the table."""
    report, printed = verified
    assert {"ok"} == {gate["verdict"] for gate in report["gates"].values()}
    for name, gate in report["gates"].items():
        assert {"expected", "measured", "verdict"} == set(gate)
        [line] = [line for line in printed.splitlines() if line.startswith(f"{name} ")]
        assert line.endswith(" ok")
        assert gate["expected"] in line


def test_report_contains_every_candidate(verified):
    """Every candidate has size, latency, and scores on each set and each set of outliers."""
    for figures in verified[0]["candidates"].values():
        assert {"size_mb", "latency_ms", "sets", "outliers"} == set(figures)
        assert {"test": 34, "abroad": 24} == {name: values["photos"] for name, values in figures["sets"].items()}
        assert {"noise": 8} == {name: values["photos"] for name, values in figures["outliers"].items()}


def test_report_accuracy_matches_evaluation(verified, quantized):
    """The accuracy of fp32 equals the one that training measured."""
    evaluated = json.loads((quantized / METRICS / "evaluate.json").read_text())["sets"]["test"]["accuracy"]
    assert evaluated == verified[0]["candidates"]["fp32"]["sets"]["test"]["accuracy"]


def test_report_contains_the_selection(verified):
    """The selected candidate and the reason are in the JSON and in the output."""
    report, printed = verified
    assert report["selected"] in {"int8", "fp16"}
    assert f"selected: {report['selected']}, because {report['reason']}" in printed


# --- gates


def test_gates_break_beyond_their_limits(find_broken):
    """Values beyond limits in params.yaml break their gates, and the message names the keys."""
    broken = find_broken(
        verify__min_accuracy={"abroad": 0.9},
        verify__max_calibration_error=0.0,
        verify__max_size_mb=0.01,
        verify__max_latency_ratio=1e-6,
        verify__min_agreement=1.0,
        verify__behavior_photos=34,
    )
    expected = {"accuracy_abroad", "calibration_error_test", "size_mb", "latency_ratio", "same_class_gray"}
    assert expected <= set(broken)


@pytest.mark.parametrize(
    ("threshold", "gate", "limits"),
    [
        (1e6, "unknown_rate_test", {"verify__max_unknown_rate": {"test": 0.99}}),
        (-1e6, "unknown_rate_noise", {"verify__min_unknown_rate": {"noise": 0.01}}),
    ],
)
def test_unknown_gates_break(find_broken, threshold, gate, limits):
    """An extreme threshold calls all photos unknown, or no outlier, and breaks exactly one gate."""
    report = read_figures("evaluate")
    write_figures("evaluate", report | {"unknown_threshold": threshold})
    for name in PRECISIONS:
        restamp(CANDIDATES / f"{name}.onnx", unknown_threshold=threshold)
    assert [gate] == find_broken(**limits)


QUALITY_GATES = ("accuracy_", "unknown_rate_", "calibration_error_", "same_class_")
UNREACHABLE = {"verify__min_accuracy": {"test": 1.0, "abroad": 1.0}, "verify__max_calibration_error": 0.0}


def judge_quality(**limits):
    """Run the stage with unreachable limits; return the names of its quality gates and the reasons for skipped sets."""
    write_params(Path(), prepare__train_share=0.6, **LENIENT | UNREACHABLE | limits)
    with suppress(SystemExit):
        verify.main()
    report = read_figures("verify")
    return [name for name in report["gates"] if name.startswith(QUALITY_GATES)], report["not_judged"]


def test_quality_is_not_judged_for_other_classes(candidates):
    """Limits for other classes do not apply, and the report states why."""
    reason = f"quality, because the limits are for ant and bee and the classes are {' and '.join(LABELS)}"
    assert ([], [reason]) == judge_quality(verify__classes=["ant", "bee"])


def test_quality_is_judged_for_classes_in_any_order_and_case(candidates):
    """The order and case of the class names in params.yaml do not matter."""
    gates, reasons = judge_quality(verify__classes=[name.title() for name in reversed(LABELS)])
    assert (True, []) == ("accuracy_test" in gates, reasons)


def test_small_sets_are_not_judged(candidates):
    """Limits do not apply to sets of fewer photos than `min_photos`, and the report names each set."""
    gates, reasons = judge_quality(verify__min_photos=30)
    assert {"accuracy_test", "calibration_error_test", "same_class_mirrored"} <= set(gates)
    assert not {"accuracy_abroad", "unknown_rate_noise"} & set(gates)
    assert [
        "abroad, because it has 24 photos and the limits require 30",
        "noise, because it has 8 photos and the limits require 30",
    ] == reasons


def test_small_test_split_is_not_judged(candidates):
    """No quality gate applies to a test split that is too small."""
    assert [] == judge_quality(verify__min_photos=35)[0]


def test_changed_weight_breaks_parity(change_weight, find_broken):
    """A single changed weight breaks every comparison of the probabilities of fp32 and PyTorch."""
    change_weight(5.0)
    sets = ("batch_1", "batch_2", "batch_7", "test", "abroad", "noise")
    assert {f"probability_difference_{name}" for name in sets} <= set(find_broken())


def test_nan_weight_breaks_parity(change_weight, find_broken):
    """A NaN weight breaks the comparison, and the report is still standard JSON."""
    change_weight(float("nan"))
    assert "probability_difference_test" in find_broken()
    assert (
        parse_strictly((METRICS / "verify.json").read_text())["gates"]["probability_difference_test"]["measured"]
        is None
    )


def test_map_of_another_class_breaks_its_gate(candidates, find_broken):
    """A file whose map is that of the least probable class breaks the comparison of the maps with PyTorch's."""
    program = onnx.load(CANDIDATES / "fp32.onnx")
    [branch] = [node for node in program.graph.node if node.op_type == "If"]
    [predicted] = [node for node in branch.attribute[1].g.node if node.op_type == "ArgMax"]
    predicted.op_type = "ArgMin"
    onnx.save(program, CANDIDATES / "fp32.onnx")
    assert ["activation_map_difference"] == find_broken()


def test_missing_map_breaks_its_gate(candidates, find_broken):
    """A candidate without the map that the network has breaks a gate, and the other gates on maps are left out."""
    program = onnx.load(CANDIDATES / "fp16.onnx")
    del program.graph.node[-1], program.graph.output[-1]
    onnx.save(program, CANDIDATES / "fp16.onnx")
    assert ["candidates_unlike_pytorch_in_having_maps"] == find_broken()


def test_changed_metadata_breaks_its_gate(find_broken):
    """Metadata that differs from training and evaluation breaks only the gate of that file."""
    restamp(CANDIDATES / "fp32.onnx", class_names=["dog", "cat", "rabbit"])
    restamp(CANDIDATES / "int8.onnx", data_hash="0" * 64)
    assert ["metadata_unlike_fp32", "metadata_unlike_int8"] == find_broken()
