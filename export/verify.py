"""Stage 5: the gate. PyTorch and ONNX Runtime on the same photos, served the same way; a broken limit exits with 1."""

import json
import math
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from export.convert import MODEL, Exported, describe
from lambda_app.classifier import Classifier
from lambda_app.metadata import Metadata
from training import config
from training.data import Photos, Upright, loader, read_manifest, read_split
from training.evaluate import METRICS as EVALUATED
from training.model import count_parameters, load_checkpoint

METRICS = Path("artifacts/metrics/verify.json")
BATCH_SIZES = (1, 2, 7)  # one, the smallest batch, and one that no kernel is tiled for


@dataclass(frozen=True)
class Check:
    """One line of the table: `measured` must not exceed `limit`."""

    name: str
    measured: float
    limit: float

    @property
    def figure(self) -> float | None:
        """`measured` for JSON, which has no NaN."""
        return self.measured if math.isfinite(self.measured) else None

    @property
    def passed(self) -> bool:
        return self.measured <= self.limit  # False for NaN


def main() -> None:
    limits = config.load(config.Verify)
    network, checkpoint = load_checkpoint()
    evaluated = json.loads(EVALUATED.read_text())
    classifier = Classifier.load(MODEL)
    module = Exported(network, evaluated["temperature"]).eval()
    photos = read_split(read_manifest(), "test", Upright(classifier.metadata.image_size))
    checks = [batch_parity(module, classifier, photos, n, limits.max_probability_difference) for n in BATCH_SIZES]
    checks += split_parity(module, classifier, photos, limits)
    checks.append(metadata(classifier, describe(checkpoint, evaluated, count_parameters(network))))
    checks.append(Check("file size in MB", MODEL.stat().st_size / 1e6, limits.max_size_mb))
    report(checks)


def metadata(classifier: Classifier, expected: Metadata) -> Check:
    """What the file says of itself is what training and evaluation wrote; its version holds the day of the export."""
    measured = asdict(classifier.metadata)
    unlike = [key for key, value in asdict(expected).items() if key != "model_version" and measured[key] != value]
    return Check(", ".join(["metadata unlike the training's", *unlike]), len(unlike), 0)


def batch_parity(module: Exported, classifier: Classifier, photos: Photos, size: int, limit: float) -> Check:
    """The largest difference of a probability on the first photos of the test split, `size` at a time."""
    size_of_set = min(len(photos), 10 * size)
    pixels = np.stack([np.asarray(photos[i][0]) for i in range(size_of_set)])  # (n, 3, S, S)
    batches = [pixels[i : i + size] for i in range(0, size_of_set, size)]
    differences = [np.abs(_torch(module, batch) - classifier.run(batch).probabilities).max() for batch in batches]
    return Check(f"probability difference at batch {size}", float(np.max(differences)), limit)  # NaN if any is


def split_parity(module: Exported, classifier: Classifier, photos: Photos, limits: config.Verify) -> list[Check]:
    """Both on the whole test split."""
    expected, measured = [], []
    for batch, _ in tqdm(loader(photos, 64, workers=0, shuffle=False), desc="verify", unit="batch"):
        expected.append(_torch(module, batch.numpy()))
        measured.append(classifier.run(batch.numpy()).probabilities)
    ours, theirs = np.concatenate(measured), np.concatenate(expected)
    labels = np.array(photos.labels)
    accuracy = [float((p.argmax(1) == labels).mean()) for p in (ours, theirs)]
    return [
        Check(
            "probability difference on the test split",
            float(np.abs(ours - theirs).max()),
            limits.max_probability_difference,
        ),
        Check("different predictions on the test split", float((ours.argmax(1) != theirs.argmax(1)).sum()), 0),
        Check("accuracy difference on the test split", abs(accuracy[0] - accuracy[1]), limits.max_accuracy_difference),
    ]


def _torch(module: Exported, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    with torch.inference_mode():
        probabilities: NDArray[np.float32] = module(torch.from_numpy(pixels))[0].numpy()
    return probabilities


def report(checks: list[Check]) -> None:
    """Print the table, write it as JSON, and leave with exit code 1 where a check failed."""
    for check in checks:
        print(f"{'ok  ' if check.passed else 'FAIL'} {check.name}: {check.measured:.3g}, limit {check.limit:.3g}")
    METRICS.parent.mkdir(parents=True, exist_ok=True)
    figures = {c.name: {"measured": c.figure, "limit": c.limit} for c in checks}
    METRICS.write_text(json.dumps(figures, indent=2) + "\n")
    if not all(check.passed for check in checks):
        sys.exit("the exported model broke a gate; see the lines marked FAIL")


if __name__ == "__main__":
    main()
