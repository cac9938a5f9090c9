"""Stage 6: the verdict. PyTorch and the candidates on the same photos, served the same way; a broken gate exits 1."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from export.behaviour import TOLERANCE, agreement, consistency
from export.convert import Exported, describe
from export.gates import Gate, by_set, complaint, table
from export.measure import ask, latency, pytorch, score, unknown_rate
from export.parity import FIRST, batch_parity, metadata, set_parity
from export.quantize import CANDIDATES, PRECISIONS
from lambda_app.classifier import Classifier, Outputs
from training import config
from training.calibration import Calibration
from training.data import Photos, Upright, every, read_manifest, read_split
from training.evaluate import METRICS as EVALUATED
from training.evaluate import read_extra, read_outliers
from training.model import count_parameters, load_checkpoint
from training.state import keep_memory

METRICS = Path("artifacts/metrics/verify.json")
Figures = dict[str, Any]
Said = Mapping[str, Mapping[str, Outputs]]  # by set, then by pytorch, fp32, fp16 and int8


def main() -> None:
    keep_memory()
    limits = config.load(config.Verify)
    network, checkpoint = load_checkpoint()
    expected = describe(checkpoint, json.loads(EVALUATED.read_text()), count_parameters(network))
    paths = {name: CANDIDATES / f"{name}.onnx" for name in PRECISIONS}
    files = {name: Classifier.load(path) for name, path in paths.items()}
    candidates = {name: file.run for name, file in files.items()}
    reference = pytorch(Exported(network, Calibration.read()).eval())

    load = Upright(expected.image_size)
    sets = {"test": read_split(read_manifest(), "test", load)} | read_extra(list(expected.class_names), load)
    outliers = read_outliers(set(sets), load)
    first = np.stack([np.asarray(sets["test"][i][0]) for i in range(min(FIRST, len(sets["test"])))])
    said = {name: ask({"pytorch": reference} | candidates, photos, name) for name, photos in (sets | outliers).items()}

    times = latency(candidates, first[:1], limits.latency_repeats)
    figures = {
        name: {"size_mb": path.stat().st_size / 1e6, "latency_ms": times[name]}
        | score_all(said, name, sets, outliers, expected.unknown_threshold)
        for name, path in paths.items()
    }
    released, reason = choose(figures, limits.max_accuracy_loss)
    print(f"released: {released}, because {reason}")
    behaviour = {
        "agreement": agreement(files[released], every(sets["test"], limits.behaviour_photos)),
        "difference": consistency(files[released], first),
    }
    gates = [
        *(metadata(name, file.metadata, expected) for name, file in files.items()),
        *batch_parity(reference, candidates["fp32"], first, limits.max_probability_difference),
        *(gate for name in said for gate in set_parity(name, said[name], limits.max_probability_difference)),
        *quality(figures[released], limits),
        *cost(figures[released], figures["fp32"], limits),
        *steadiness(behaviour, limits),
    ]
    report(gates, {"released": released, "reason": reason, "candidates": figures, "behaviour": behaviour})


def score_all(
    said: Said, candidate: str, sets: Mapping[str, Photos], outliers: Mapping[str, Photos], threshold: float
) -> Figures:
    labels = {name: np.array(photos.labels) for name, photos in sets.items()}
    strange = {name: unknown_rate(said[name][candidate], threshold) for name in outliers}
    return {
        "sets": {name: score(said[name][candidate], labels[name], threshold) for name in sets},
        "outliers": {name: {"photos": len(outliers[name]), "recognised": rate} for name, rate in strange.items()},
    }


def choose(figures: Mapping[str, Figures], max_loss: float) -> tuple[str, str]:
    """Which to release, and why: int8 if it is faster here and as good on every set, else fp16 if that is as good."""
    ratio = figures["int8"]["latency_ms"] / figures["fp32"]["latency_ms"]
    as_good, reason = judge("int8", figures, max_loss)
    if as_good and ratio < 1:
        return "int8", f"{reason} and takes {ratio:.2f} times as long as fp32"
    refusal = f"int8 takes {ratio:.2f} times as long as fp32" if as_good else reason
    as_good, reason = judge("fp16", figures, max_loss)
    return "fp16" if as_good else "fp32", f"{refusal}; {reason}"


def judge(name: str, figures: Mapping[str, Figures], max_loss: float) -> tuple[bool, str]:
    """Whether a candidate is as good as fp32 on every set, in words too."""
    worst, loss = largest_loss(figures[name], figures["fp32"])
    if round(loss, 9) <= max_loss:
        return True, f"{name} loses {max(0, loss):.2%} of a set at most"
    return False, f"{name} loses {loss:.2%} of {worst}; verify.max_accuracy_loss allows {max_loss:.2%}"


def largest_loss(candidate: Figures, fp32: Figures) -> tuple[str, float]:
    """The set on which it loses most against fp32, and how much, as a share."""
    losses = {name: scores["accuracy"] - candidate["sets"][name]["accuracy"] for name, scores in fp32["sets"].items()}
    worst = max(losses, key=lambda name: losses[name])
    return worst, losses[worst]


def quality(released: Figures, limits: config.Verify) -> list[Gate]:
    sets = released["sets"]
    accuracy, unknown = ({name: figures[key] for name, figures in sets.items()} for key in ("accuracy", "unknown_rate"))
    recognised = {name: figures["recognised"] for name, figures in released["outliers"].items()}
    return [
        *by_set("accuracy", "min_accuracy", limits.min_accuracy, accuracy),
        *by_set("unknown_rate", "max_unknown_rate", limits.max_unknown_rate, unknown),
        *by_set("recognised", "min_recognised", limits.min_recognised, recognised),
        Gate(
            "calibration_error_test",
            sets["test"]["calibration_error"],
            limits.max_calibration_error,
            "verify.max_calibration_error in params.yaml",
        ),
    ]


def cost(released: Figures, fp32: Figures, limits: config.Verify) -> list[Gate]:
    """fp16 computes what fp32 does, and measures a few percent more or less: the limit has to leave room for that."""
    ratio = released["latency_ms"] / fp32["latency_ms"]
    return [
        Gate("size_mb", released["size_mb"], limits.max_size_mb, "verify.max_size_mb in params.yaml"),
        Gate("latency_ratio", ratio, limits.max_latency_ratio, "verify.max_latency_ratio in params.yaml"),
    ]


def steadiness(behaviour: Figures, limits: config.Verify) -> list[Gate]:
    key = "verify.min_agreement in params.yaml"
    agreed = [
        Gate(f"same_class_{edit}", share, limits.min_agreement, key, at_least=True)
        for edit, share in behaviour["agreement"].items()
    ]
    return agreed + [
        Gate(f"difference_{what}", measured, TOLERANCE[what], "fixed: export/behaviour.py")
        for what, measured in behaviour["difference"].items()
    ]


def report(gates: list[Gate], verdict: Figures) -> None:
    """Print the table, write everything as JSON, and leave with exit code 1 where a gate is broken."""
    print(table(gates))
    METRICS.parent.mkdir(parents=True, exist_ok=True)
    METRICS.write_text(json.dumps(verdict | {"gates": {gate.name: gate.figures for gate in gates}}, indent=2) + "\n")
    if any(not gate.passed for gate in gates):
        sys.exit(complaint(gates))


if __name__ == "__main__":
    main()
