"""How long one photo takes in each candidate file, as `export.verify` measures it, to `artifacts/metrics/latency.json`.

No stage of the pipeline: `make baselines` runs it where it has trained a network.
"""

import json
from pathlib import Path

import numpy as np

from export.checks.evaluation import latency
from export.quantize import CANDIDATES
from lambda_app.classifier import Classifier

LATENCY = Path("artifacts/metrics/latency.json")
REPEATS = 100


def main() -> None:
    classifiers = {path.stem: Classifier.load(path) for path in sorted(CANDIDATES.glob("*.onnx"))}
    size = next(iter(classifiers.values())).metadata.image_size
    photo = np.random.default_rng(0).integers(0, 256, (1, 3, size, size), np.uint8)
    figures = latency({name: classifier.run for name, classifier in classifiers.items()}, photo, REPEATS)
    LATENCY.write_text(json.dumps(figures, indent=2) + "\n")
    print(", ".join(f"{name} {figure:.2f} ms" for name, figure in figures.items()))


if __name__ == "__main__":
    main()
