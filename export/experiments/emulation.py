"""Compare the outputs of a model file on this CPU with those on an emulated CPU without its int8 instructions.

    python -m export.experiments.emulation artifacts/candidates/int8.onnx --cpu Haswell

CPUs without VNNI add 8-bit products in 16 bits; `export.quantize.max_magnitudes` prevents an overflow. Debian's
package qemu-user emulates such a CPU. The command needs a CPU with VNNI, takes about a second per photo and writes
artifacts/metrics/emulation.json.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.checks.parity import largest_difference
from lambda_app.classifier import Classifier
from lambda_app.outputs import Outputs
from training.figures import write_figures
from training.interruption import UserError
from training.manifest import read_manifest
from training.photo_dataset import Preprocessor, read_split, subsample
from training.source import sha256

EMULATOR = "qemu-x86_64"
CPUINFO = Path("/proc/cpuinfo")
# The emulated process imports only `lambda_app`, not `training`.
PROGRAM = """
import sys
from pathlib import Path
import numpy as np
from lambda_app.classifier import OUTPUTS, Classifier
classifier = Classifier.load(Path(sys.argv[1]))
runs = [classifier.run(photo[None]) for photo in np.load(sys.argv[2])]
np.savez(sys.argv[3], **{name: np.concatenate([getattr(run, name) for run in runs]) for name in OUTPUTS})
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="file to run on both CPUs")
    parser.add_argument(
        "--cpu", default="Haswell", help="CPU of the emulator (default: %(default)s, AVX2 without VNNI)"
    )
    parser.add_argument(
        "--photos", type=int, default=400, help="maximum number of photos of the test split (default: %(default)s)"
    )
    options = parser.parse_args()
    emulator = shutil.which(EMULATOR)
    if emulator is None:
        raise UserError(f"{EMULATOR} is missing; install Debian's package qemu-user")
    if "vnni" not in CPUINFO.read_text():  # of the flags avx512_vnni and avx_vnni
        raise UserError("this CPU has no VNNI, so both runs would use the same instructions; use a CPU with VNNI")
    to_pixels = Preprocessor(Classifier.load(options.model).metadata.image_size)
    photos = subsample(read_split(read_manifest(), "test", to_pixels), options.photos)
    pixels = np.stack([photos[i][0] for i in range(len(photos))])
    native = run_program([], options.model, pixels)
    emulated = run_program([emulator, "-cpu", options.cpu], options.model, pixels)
    figures = {"cpu": options.cpu, "sha256": sha256(options.model)} | compare(native, emulated)
    write_figures("emulation", figures)
    print(json.dumps(figures, indent=2))


def run_program(emulator: list[str], model: Path, pixels: NDArray[np.uint8]) -> Outputs:
    """Return the outputs for photos (N, 3, S, S), computed one at a time in a new process."""
    with TemporaryDirectory() as folder:
        source, target = Path(folder) / "pixels.npy", Path(folder) / "outputs.npz"
        np.save(source, pixels)
        subprocess.run([*emulator, sys.executable, "-c", PROGRAM, model, source, target], check=True)
        return Outputs(**np.load(target))


def compare(native: Outputs, emulated: Outputs) -> dict[str, Any]:
    """Return the number of photos whose class differs, and the largest absolute differences of the outputs."""
    return {
        "photos": len(native.logits),
        "other_classes": int((native.logits.argmax(axis=1) != emulated.logits.argmax(axis=1)).sum()),
        "probability_difference": largest_difference(native.probabilities, emulated.probabilities),
        "familiarity_difference": largest_difference(native.familiarity, emulated.familiarity),
    }


if __name__ == "__main__":
    main()
