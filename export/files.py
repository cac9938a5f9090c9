"""Name the files that the stages of the export exchange, and measure their size."""

from pathlib import Path

MODEL = Path("artifacts/model.onnx")  # what `convert` exports
CANDIDATES = Path("artifacts/candidates")  # PRECISION.onnx for each precision
PRECISIONS = ("fp32", "fp16", "int8")
RELEASED = Path("lambda_app/model.onnx")
CARD = Path("export/MODEL_CARD.md")
REFERENCE = Path("artifacts/reference.json")  # of drift detection; see export.drift_reference


def megabytes(path: Path) -> float:
    """Return the size of a file in millions of bytes."""
    return path.stat().st_size / 1e6
