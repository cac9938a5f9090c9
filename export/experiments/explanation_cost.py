"""Measure the CPU time that the activation map adds to requests with and without `explain=1`.

`python -m export.experiments.explanation_cost` compares the released file with a copy without the map, in pairs of runs
whose order alternates. It writes artifacts/explanation.json, from which `make docs` writes the table in
lambda_app/README.md.

Two sessions of the same file differ by up to 1 %, depending on the addresses of their memory. Therefore, each round
loads new sessions, and a control compares two sessions of the copy.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from starlette.testclient import TestClient

from export.files import RELEASED
from lambda_app.app import create_app
from lambda_app.classifier import ACTIVATION_MAP, EXPLAIN, OUTPUTS, Classifier
from lambda_app.preprocess import preprocess
from lambda_app.settings import Settings
from training.figures import write_json
from training.source import sha256

FIGURES = Path("artifacts/explanation.json")
PHOTO = Path("data/samples/cat.jpg")
WARM_UP = 5  # runs before the measurement
Action = Callable[[], Any]


def remove_activation_map(source: Path, target: Path) -> None:
    """Write a copy of a model file without the activation map, its branch and the input that requests it."""
    model = onnx.load(source)
    graph = model.graph
    for values, names in (
        (graph.node, {ACTIVATION_MAP}),
        (graph.output, {ACTIVATION_MAP}),
        (graph.input, {EXPLAIN}),
        (graph.initializer, {EXPLAIN}),
    ):
        for value in [value for value in values if value.name in names]:
            values.remove(value)
    onnx.save(model, target)


def time_pairs(first: Action, second: Action, pairs: int) -> NDArray[np.float64]:
    """Return the CPU time of each run of two actions (2, pairs), in milliseconds. The order alternates."""
    actions = (first, second)
    for action in actions * WARM_UP:
        action()
    times = np.empty((2, pairs))
    for pair in range(pairs):
        for index in (0, 1) if pair % 2 else (1, 0):
            start = time.process_time()
            actions[index]()
            times[index, pair] = (time.process_time() - start) * 1000
    return times


def compare_times(rounds: Sequence[NDArray[np.float64]]) -> dict[str, float]:
    """Return the median time of both actions, and the time that the second one adds, with its 95 % interval.

    Each round is an array (2, pairs). The added time is the mean over the rounds of the median difference in a round.
    """
    medians = np.array([np.median(times, axis=1) for times in rounds])  # (rounds, 2)
    added = [float(np.median(times[1] - times[0])) for times in rounds]
    margin = 1.96 * statistics.stdev(added) / len(added) ** 0.5
    first, second = (float(column) for column in np.median(medians, axis=0))
    mean = statistics.mean(added)
    return {"first_ms": first, "second_ms": second, "added_ms": mean, "low_ms": mean - margin, "high_ms": mean + margin}


def measure_runs(without: Path, pixels: NDArray[np.uint8], rounds: int, pairs: int) -> dict[str, dict[str, float]]:
    """Compare the released file, run without `explain`, with a copy of it that has no map, and this copy with itself.

    The second comparison is the control: its difference is measurement error.
    """
    times: dict[str, list[NDArray[np.float64]]] = {"control": [], "not_requested": []}
    for _ in range(rounds):
        classifiers = [Classifier.load(path) for path in (without, without, RELEASED)]
        actions = [partial(classifier.run, pixels) for classifier in classifiers]
        times["control"].append(time_pairs(actions[0], actions[1], pairs))
        times["not_requested"].append(time_pairs(actions[0], actions[2], pairs))
    return {name: compare_times(measured) for name, measured in times.items()}


def measure_requests(rounds: int, pairs: int) -> dict[str, float]:
    """Compare requests with `explain=1` to requests without, from request to response in this process."""
    data = PHOTO.read_bytes()
    times = []
    for _ in range(rounds):
        client = TestClient(create_app(Classifier.load(RELEASED), Settings(log_level="ERROR")))
        plain, explained = (partial(client.post, f"/predict{query}", content=data) for query in ("", "?explain=1"))
        with redirect_stdout(StringIO()):  # hides the request log
            times.append(time_pairs(plain, explained, pairs))
    return compare_times(times)


def profile_branch(pixels: NDArray[np.uint8], runs: int) -> dict[str, float]:
    """Return the median time of the branch that skips the map and of all nodes, in ms, by ONNX Runtime's profiler."""
    with TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        options.enable_profiling = True
        options.profile_file_prefix = f"{folder}/profile"
        session = ort.InferenceSession(RELEASED, options, providers=["CPUExecutionProvider"])
        for _ in range(runs):
            session.run(OUTPUTS, {"images": pixels})
        events = json.loads(Path(session.end_profiling()).read_text())
    durations: dict[str, list[int]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            durations.setdefault(event["name"], []).append(event["dur"])
    medians = {name: statistics.median(values) / 1000 for name, values in durations.items()}
    return {"branch_ms": medians[f"{ACTIVATION_MAP}_kernel_time"], "all_ms": sum(medians.values())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rounds", type=int, default=20, help="rounds with new sessions, at least 2 (default: %(default)s)"
    )
    parser.add_argument("--pairs", type=int, default=50, help="pairs of runs in a round (default: %(default)s)")
    options = parser.parse_args()
    pixels = preprocess(PHOTO.read_bytes(), Classifier.load(RELEASED).metadata.image_size).pixels[None]
    with TemporaryDirectory() as folder:
        without = Path(folder) / "without.onnx"
        remove_activation_map(RELEASED, without)
        figures = measure_runs(without, pixels, options.rounds, options.pairs)
    figures["requested"] = measure_requests(options.rounds, options.pairs)
    figures["profile"] = profile_branch(pixels, options.pairs)
    write_json(FIGURES, {"sha256": sha256(RELEASED)} | figures)


if __name__ == "__main__":
    main()
