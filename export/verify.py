"""Stage 6: the verdict. PyTorch and the candidates on the same photos, served the same way; a broken gate exits 1."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from export.checks.behavior import agreement, consistency
from export.checks.gates import Gate, complaint, table
from export.checks.measure import ask, latency, pytorch, score, unknown_rate
from export.checks.parity import FIRST, batch_parity, metadata, set_parity
from export.checks.quality import better_than_guessing, constancy, cost, quality, sort, steadiness
from export.choice import choose
from export.convert import Exported, describe
from export.quantize import CANDIDATES, PRECISIONS
from lambda_app.classifier import Classifier, Outputs
from training import config
from training.calibration import Calibration
from training.data import Photos, Preprocessor, read_manifest, read_split, subsample
from training.evaluate import METRICS as EVALUATED
from training.evaluate import read_extra, read_outliers
from training.model import count_parameters, load_checkpoint
from training.state import keep_freed_memory

METRICS = Path("artifacts/metrics/verify.json")
Figures = dict[str, Any]
Said = Mapping[str, Mapping[str, Outputs]]  # by set, then by pytorch, fp32, fp16 and int8


def main() -> None:
    keep_freed_memory()
    limits = config.load(config.Verify)
    network, checkpoint = load_checkpoint()
    expected = describe(checkpoint, json.loads(EVALUATED.read_text()), count_parameters(network))
    paths = {name: CANDIDATES / f"{name}.onnx" for name in PRECISIONS}
    files = {name: Classifier.load(path) for name, path in paths.items()}
    candidates = {name: file.run for name, file in files.items()}
    reference = pytorch(Exported(network, Calibration.read()).eval())

    load = Preprocessor(expected.image_size)
    sets = {"test": read_split(read_manifest(), "test", load)} | read_extra(list(expected.class_names), load)
    outliers = read_outliers(set(sets), load)
    first = np.stack([np.asarray(sets["test"][i][0]) for i in range(min(FIRST, len(sets["test"])))])
    said = {name: ask({"pytorch": reference} | candidates, photos, name) for name, photos in (sets | outliers).items()}

    times = latency(candidates, first[:1], limits.latency_repeats)
    figures: dict[str, Figures] = {
        name: {"size_mb": path.stat().st_size / 1e6, "latency_ms": times[name]}
        | score_all(said, name, sets, outliers, expected.unknown_threshold)
        for name, path in paths.items()
    }
    released, reason = choose(figures, limits)
    print(f"released: {released}, because {reason}")
    behaviour = {
        "agreement": agreement(files[released], subsample(sets["test"], limits.behavior_photos)),
        "difference": consistency(files[released], first),
    }
    gates = [
        *(metadata(name, file.metadata, expected) for name, file in files.items()),
        *batch_parity(reference, candidates["fp32"], first, limits.max_probability_difference),
        *(gate for name in said for gate in set_parity(name, said[name], limits.max_probability_difference)),
        better_than_guessing(figures[released]["sets"]["test"], sets["test"].labels),
        *cost(figures[released], figures["fp32"], limits),
        *constancy(behaviour["difference"]),
    ]
    large, small = sort(figures[released], expected.class_names, limits)
    gates += [*quality(large, limits), *(steadiness(behaviour["agreement"], limits) if "test" in large["sets"] else [])]
    for line in small:
        print(f"not judged: {line}")
    verdict = {"released": released, "reason": reason, "candidates": figures, "behaviour": behaviour}
    report(gates, verdict | {"not_judged": small})


def score_all(
    said: Said, candidate: str, sets: Mapping[str, Photos], outliers: Mapping[str, Photos], threshold: float
) -> Figures:
    labels = {name: np.array(photos.labels) for name, photos in sets.items()}
    strange = {name: unknown_rate(said[name][candidate], threshold) for name in outliers}
    return {
        "sets": {name: score(said[name][candidate], labels[name], threshold) for name in sets},
        "outliers": {name: {"photos": len(outliers[name]), "recognised": rate} for name, rate in strange.items()},
    }


def report(gates: list[Gate], verdict: Figures) -> None:
    """Print the table, write everything as JSON, and leave with exit code 1 where a gate is broken."""
    print(table(gates))
    METRICS.parent.mkdir(parents=True, exist_ok=True)
    METRICS.write_text(json.dumps(verdict | {"gates": {gate.name: gate.figures for gate in gates}}, indent=2) + "\n")
    if any(not gate.passed for gate in gates):
        sys.exit(complaint(gates))


if __name__ == "__main__":
    main()
