"""Stage 6: verify the candidates, and select the one to release.

The stage runs PyTorch and all candidates on the same photos, preprocessed as in serving. It exits with 1 if a gate is
broken, which stops the pipeline.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from export.candidate_selection import select_candidate
from export.checks import parity
from export.checks.activation_maps import check_maps
from export.checks.behavior import measure_agreement, measure_consistency
from export.checks.evaluation import make_pytorch_run, measure_unknown_rate, run_all, score_outputs
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
from export.convert import ExportedNetwork, build_metadata, megabytes
from export.quantize import CANDIDATES, PRECISIONS
from lambda_app.classifier import Classifier, Outputs
from training import config
from training.calibration import Calibration
from training.data import Photos, Preprocessor, read_manifest, read_split, subsample
from training.evaluate import METRICS as EVALUATION
from training.evaluate import read_extra, read_outliers
from training.model import count_parameters, load_checkpoint
from training.state import keep_freed_memory

METRICS = Path("artifacts/metrics/verify.json")
Figures = dict[str, Any]
OutputsBySet = Mapping[str, Mapping[str, Outputs]]  # by set, then by pytorch, fp32, fp16 and int8


def main() -> None:
    keep_freed_memory()
    limits = config.load(config.Verify)
    network, checkpoint = load_checkpoint()
    expected = build_metadata(checkpoint, json.loads(EVALUATION.read_text()), count_parameters(network))
    paths = {name: CANDIDATES / f"{name}.onnx" for name in PRECISIONS}
    files = {name: Classifier.load(path) for name, path in paths.items()}
    candidates = {name: file.run for name, file in files.items()}
    pytorch = make_pytorch_run(ExportedNetwork(network, Calibration.read()).eval())

    load = Preprocessor(expected.image_size)
    sets = {"test": read_split(read_manifest(), "test", load)} | read_extra(list(expected.class_names), load)
    outliers = read_outliers(set(sets), load)
    test = sets["test"]
    pixels = np.stack([np.asarray(test[i][0]) for i in range(min(parity.PHOTOS, len(test)))])
    outputs = {
        name: run_all({"pytorch": pytorch} | candidates, photos, name) for name, photos in (sets | outliers).items()
    }

    times = measure_latency(candidates, pixels[:1], limits.latency_repeats)
    figures: dict[str, Figures] = {
        name: {"size_mb": megabytes(path), "latency_ms": times[name]}
        | score_candidate(name, outputs, sets, outliers, expected.unknown_threshold)
        for name, path in paths.items()
    }
    released, reason = select_candidate(figures, limits)
    print(f"released: {released}, because {reason}")
    behavior = {
        "agreement": measure_agreement(files[released], subsample(test, limits.behavior_photos)),
        "difference": measure_consistency(files[released], pixels),
    }
    max_difference = limits.max_probability_difference
    judged, not_judged = select_judged_sets(figures[released], expected.class_names, limits)
    gates = [
        *(parity.check_metadata(name, file.metadata, expected) for name, file in files.items()),
        *parity.check_batch_parity(pytorch, candidates["fp32"], pixels, max_difference),
        *(gate for name in outputs for gate in parity.check_set_parity(name, outputs[name], max_difference)),
        check_better_than_guessing(figures[released]["sets"]["test"], test.labels),
        *check_cost(figures[released], figures["fp32"], limits),
        *check_consistency(behavior["difference"]),
        *check_maps(network, files, released, pixels, max_difference),
        *check_quality(judged, limits),
        *(check_agreement(behavior["agreement"], limits) if "test" in judged["sets"] else []),
    ]
    for line in not_judged:
        print(f"not judged: {line}")
    verdict = {"released": released, "reason": reason, "candidates": figures, "behavior": behavior}
    write_report(gates, verdict | {"not_judged": not_judged})


def score_candidate(
    candidate: str, outputs: OutputsBySet, sets: Mapping[str, Photos], outliers: Mapping[str, Photos], threshold: float
) -> Figures:
    """Return the scores of a candidate on every set, and the share of outliers that it calls unknown."""
    labels = {name: np.array(photos.labels) for name, photos in sets.items()}
    rates = {name: measure_unknown_rate(outputs[name][candidate], threshold) for name in outliers}
    return {
        "sets": {name: score_outputs(outputs[name][candidate], labels[name], threshold) for name in sets},
        "outliers": {name: {"photos": len(outliers[name]), "recognised": rate} for name, rate in rates.items()},
    }


def write_report(gates: list[Gate], verdict: Figures) -> None:
    """Print the table, write the report as JSON, and exit with 1 if a gate is broken."""
    print(format_table(gates))
    METRICS.parent.mkdir(parents=True, exist_ok=True)
    METRICS.write_text(json.dumps(verdict | {"gates": {gate.name: gate.figures for gate in gates}}, indent=2) + "\n")
    if any(not gate.passed for gate in gates):
        sys.exit(describe_failures(gates))


if __name__ == "__main__":
    main()
