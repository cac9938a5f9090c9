"""Add the activation map to lambda_app/model.onnx if it was released without one, and update the files that name it.

    python -m export.upgrade

The weights do not change, and the command checks that all other outputs stay the same to the bit. The new file has
today's date in its version, and another SHA-256. The release metrics, the drift reference and the model card are
updated. If you have the checkpoint, `make train` also writes a file with the map.
"""

import json
import shutil
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx

from export import card
from export.activation_map import add_activation_map
from export.convert import megabytes
from export.release import CARD, METRICS, REFERENCE, RELEASED, ReleaseError
from lambda_app.classifier import OUTPUTS, Classifier, Outputs
from training.source import sha256

RANDOM_IMAGES = 8  # which both the old and the new file classify


def main(arguments: Sequence[str] = ()) -> None:
    """Upgrade the file, unless it has the map, and write the card. If interrupted, run the command again to resume."""
    ArgumentParser(prog="python -m export.upgrade", description=__doc__).parse_args(arguments)
    classifier = Classifier.load(RELEASED)
    if classifier.has_activation_map:
        CARD.write_text(card.render())
        print(f"{RELEASED} already has the activation map")
    else:
        version = upgrade(classifier)
        CARD.write_text(card.render())
        print(
            f"{RELEASED} is now {version} and has the map; run `make golden` and `make results`, and commit the files"
        )


def upgrade(classifier: Classifier) -> str:
    """Replace the released file by one with the map, and return its version.

    The metrics and the drift reference are written before the file is replaced, so that a repetition after an
    interruption also updates them. Raise `ReleaseError` if the network can have no map.
    """
    with TemporaryDirectory(dir=RELEASED.parent) as folder:
        upgraded = Path(shutil.copy(RELEASED, folder))
        if not add_activation_map(upgraded):
            raise ReleaseError(f"{RELEASED} does not end in global pooling and a linear layer; it can have no map")
        version = f"{datetime.now(UTC):%Y.%m.%d}-{classifier.metadata.run_id[:8]}"
        set_version(upgraded, version)
        check_same_outputs(classifier, Classifier.load(upgraded))
        update_json(METRICS, 2, model_version=version, sha256=sha256(upgraded), size_mb=megabytes(upgraded))
        update_json(REFERENCE, None, model_version=version)
        upgraded.replace(RELEASED)
    return version


def set_version(path: Path, version: str) -> None:
    """Replace the version in the metadata of a model file."""
    program = onnx.load(path)
    [prop] = [prop for prop in program.metadata_props if prop.key == "model_version"]
    prop.value = json.dumps(version)
    onnx.save(program, path)


def check_same_outputs(old: Classifier, new: Classifier) -> None:
    """Raise `ReleaseError` if an output of the new file differs from that of the old one in any bit."""
    side = old.metadata.image_size
    images = np.random.default_rng(0).integers(0, 256, (RANDOM_IMAGES, 3, side, side), np.uint8)
    expected = old.run(images)
    for explain in (False, True):
        if not are_equal(expected, new.run(images, explain=explain)):
            raise ReleaseError(f"the outputs of the new file differ from those of {RELEASED}; it was not replaced")


def are_equal(first: Outputs, second: Outputs) -> bool:
    """Return whether all outputs but the map are the same to the bit."""
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in OUTPUTS)


def update_json(path: Path, indent: int | None, **values: Any) -> None:
    """Set values in a JSON file, which is written with this indentation."""
    path.write_text(json.dumps(json.loads(path.read_text()) | values, indent=indent) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
