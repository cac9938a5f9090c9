"""Verify the candidates, and select the one to release.

The stage runs PyTorch and all candidates on the same photos, preprocessed as in serving. If a gate fails, it exits with
1, which stops the pipeline.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from export.candidate_selection import select_candidate
from export.checks import parity
from export.checks.activation_maps import check_maps
from export.checks.behavior import measure_agreement, measure_consistency
from export.checks.evaluation import PixelBatch, Run, make_pytorch_run, measure_unknown_rate, run_all, score_outputs
from export.checks.gates import Gate, describe_failures, format_table
from export.checks.latency import measure_latency
from export.checks.quality import (
    check_agreement,
    check_better_than_guessing,
    check_consistency,
    check_cost,
    check_quality,
    select_judged_sets,
)
from export.convert import ExportedNetwork, build_metadata
from export.files import CANDIDATES, PRECISIONS, megabytes
from lambda_app.classifier import Classifier
from lambda_app.metadata import Metadata
from lambda_app.outputs import Outputs
from training import config
from training.calibration import Calibration
from training.figures import Figures, read_figures, write_figures
from training.further_sets import read_extra, read_outliers
from training.manifest import read_manifest
from training.model import count_parameters, load_checkpoint
from training.networks import Network
from training.photo_dataset import Photos, Preprocessor, read_split, subsample
from training.state import keep_freed_memory

OutputsBySet = Mapping[str, Mapping[str, Outputs]]  # by set, then by pytorch, fp32, fp16 and int8


@dataclass(frozen=True)
class Models:
    """The trained network, and the candidates that `export.quantize` made from it."""

    network: Network
    pytorch: Run
    expected: Metadata  # what training and evaluation wrote
    candidates: dict[str, Classifier]

    @property
    def runs(self) -> dict[str, Run]:
        return {"pytorch": self.pytorch} | {name: file.run for name, file in self.candidates.items()}


@dataclass(frozen=True)
class Sets:
    """The photos that all models predict, by set: those of the classes, and pictures of other things."""

    labeled: dict[str, Photos]
    outliers: dict[str, Photos]

    @property
    def test(self) -> Photos:
        return self.labeled["test"]


def main() -> None:
    keep_freed_memory()
    limits = config.load(config.Verify)
    models = load_models()
    sets = read_sets(models.expected)
    pixels = stack_pixels(sets.test, parity.MAX_PHOTOS)
    outputs = {name: run_all(models.runs, photos, name) for name, photos in (sets.labeled | sets.outliers).items()}
    figures = measure_candidates(models, sets, outputs, pixels[:1], limits.latency_repeats)
    selected, reason = select_candidate(figures, limits)
    print(f"selected: {selected}, because {reason}")
    behavior = measure_behavior(models.candidates[selected], subsample(sets.test, limits.behavior_photos), pixels)
    judged, not_judged = select_judged_sets(figures[selected], models.expected.class_names, limits)
    gates = [
        *check_parity(models, outputs, pixels, limits.max_probability_difference),
        check_better_than_guessing(figures[selected]["sets"]["test"], sets.test.labels),
        *check_cost(figures[selected], figures["fp32"], limits),
        *check_consistency(behavior["difference"]),
        *check_maps(models.network, models.candidates, selected, pixels, limits.max_probability_difference),
        *check_quality(judged, limits),
        *(check_agreement(behavior["agreement"], limits) if "test" in judged["sets"] else []),
    ]
    verdict = {"selected": selected, "reason": reason, "candidates": figures, "behavior": behavior}
    write_report(gates, verdict | {"not_judged": not_judged})


def load_models() -> Models:
    """Return the network of the checkpoint, and all candidates."""
    network, checkpoint = load_checkpoint()
    expected = build_metadata(checkpoint, read_figures("evaluate"), count_parameters(network))
    pytorch = make_pytorch_run(ExportedNetwork(network, Calibration.read()).eval())
    candidates = {name: Classifier.load(CANDIDATES / f"{name}.onnx") for name in PRECISIONS}
    return Models(network, pytorch, expected, candidates)


def read_sets(expected: Metadata) -> Sets:
    """Return the test split, the further sets of labeled photos, and the outliers."""
    to_pixels = Preprocessor(expected.image_size)
    labeled = {"test": read_split(read_manifest(), "test", to_pixels)}
    labeled |= read_extra(list(expected.class_names), to_pixels)
    return Sets(labeled, read_outliers(set(labeled), to_pixels))


def stack_pixels(photos: Photos, count: int) -> PixelBatch:
    """Return the first photos, at most `count`, as one array (N, 3, S, S)."""
    return np.stack([photos[i][0] for i in range(min(count, len(photos)))])


def measure_candidates(
    models: Models, sets: Sets, outputs: OutputsBySet, photo: PixelBatch, repeats: int
) -> dict[str, Figures]:
    """Return size, latency and scores of each candidate. The latency is that of one photo (1, 3, S, S)."""
    times = measure_latency({name: file.run for name, file in models.candidates.items()}, photo, repeats)
    threshold = models.expected.unknown_threshold
    return {
        name: {"size_mb": megabytes(CANDIDATES / f"{name}.onnx"), "latency_ms": times[name]}
        | score_candidate(name, outputs, sets, threshold)
        for name in models.candidates
    }


def measure_behavior(selected: Classifier, photos: Photos, pixels: PixelBatch) -> dict[str, dict[str, float]]:
    """Return which share of the photos keeps its class after each edit, and how much batching changes probabilities."""
    return {"agreement": measure_agreement(selected, photos), "difference": measure_consistency(selected, pixels)}


def check_parity(models: Models, outputs: OutputsBySet, pixels: PixelBatch, limit: float) -> list[Gate]:
    """Return the gates that compare the files with the trained network: metadata, and predictions of fp32."""
    fp32 = models.candidates["fp32"].run
    return [
        *(parity.check_metadata(name, file.metadata, models.expected) for name, file in models.candidates.items()),
        *parity.check_batch_parity(models.pytorch, fp32, pixels, limit),
        *(gate for name in outputs for gate in parity.check_set_parity(name, outputs[name], limit)),
    ]


def score_candidate(candidate: str, outputs: OutputsBySet, sets: Sets, threshold: float) -> Figures:
    """Return the scores of a candidate on every set, and the share of outliers that it calls unknown."""
    labels = {name: np.array(photos.labels) for name, photos in sets.labeled.items()}
    rates = {name: measure_unknown_rate(outputs[name][candidate], threshold) for name in sets.outliers}
    return {
        "sets": {name: score_outputs(outputs[name][candidate], labels[name], threshold) for name in labels},
        "outliers": {name: {"photos": len(sets.outliers[name]), "unknown_rate": rate} for name, rate in rates.items()},
    }


def write_report(gates: list[Gate], verdict: Figures) -> None:
    """Print what was not checked and the gates, write the report as JSON, and exit with 1 if a gate fails."""
    for line in verdict["not_judged"]:
        print(f"not judged: {line}")
    print(format_table(gates))
    write_figures("verify", verdict | {"gates": {gate.name: gate.figures for gate in gates}})
    if any(not gate.passed for gate in gates):
        sys.exit(describe_failures(gates))


if __name__ == "__main__":
    main()
