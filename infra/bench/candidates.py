"""Define the candidates: this function, its peers, and lower bounds (imports only, decode and run only)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra import ROOT

PEERS = ROOT / "infra/bench/peers"
STAGED = ROOT / "artifacts/bench"  # build contexts of the peers
MODEL = ROOT / "lambda_app/model.onnx"
WEIGHTS = STAGED / "weights"
FUNCTION_IMAGE = "pet-classifier:local"  # as `make image` tags it
TORCH = "requirements-torch.txt"  # shared, so that Docker stores the 6 GB layer once


@dataclass(frozen=True)
class Candidate:
    """A function in a container image.

    The image of a peer is built from `files` (destination in the task to source) and `requirements`. Without
    requirements, the files are mounted into the image of this function.
    """

    name: str
    handler: str
    image: str
    files: Mapping[str, Path] = field(default_factory=dict)
    requirements: Path | None = None
    bytecode: bool = True
    env: Mapping[str, str] = field(default_factory=dict)
    routes: bool = True  # lower bounds serve no routes

    @property
    def task(self) -> Path:
        """Folder of the staged files."""
        return STAGED / self.name / "task"


def _peer(name: str, handler: str, files: Mapping[str, Path], requirements: str = "", **options: Any) -> Candidate:
    path = PEERS / (requirements or f"{name}/requirements.txt")
    return Candidate(name, handler, f"pet-classifier-bench:{name}", files, path, **options)


# As in this function, telemetry of ONNX Runtime is off; otherwise its import starts a process.
NO_TELEMETRY = {"ORT_DISABLE_TELEMETRY": "1"}


def server(name: str, *files: str) -> Candidate:
    """Return a candidate for an HTTP server that runs `lambda_app`, with its own files beside it."""
    own = {file: PEERS / name / file for file in files}
    model = {"lambda_app": ROOT / "lambda_app", "lambda_app/model.onnx": MODEL}
    return _peer(name, "", model | own)


FUNCTION = Candidate("function", "lambda_app.handler.handler", FUNCTION_IMAGE)
PLAIN = _peer(
    "ort_plain",
    "handler.handler",
    {"handler.py": PEERS / "ort_plain/handler.py", "model.onnx": WEIGHTS / "ort_plain.onnx"},
    bytecode=False,
)
CANDIDATES = (
    FUNCTION,
    _peer(
        "torch_simple_cnn",
        "handler.handler",
        {
            "handler.py": PEERS / "torch_simple_cnn/handler.py",
            "network.py": PEERS / "torch_simple_cnn/network.py",
            "model.pth": WEIGHTS / "torch_simple_cnn.pth",
        },
        TORCH,
    ),
    _peer(
        "torch_same_model",
        "lambda_app.handler.handler",
        {
            "lambda_app": ROOT / "lambda_app",
            "lambda_app/classifier.py": PEERS / "torch_same_model/classifier.py",
            "lambda_app/model.onnx": WEIGHTS / "torch_same_model.pt",
        },
        TORCH,
    ),
    PLAIN,
    # An environment as pip installs it, with bytecode: the image of this function contains faster imports.
    _peer(
        "floor_imports",
        "imports.handler",
        {"imports.py": PEERS / "floor/imports.py"},
        "floor/requirements.txt",
        env=NO_TELEMETRY,
        routes=False,
    ),
    Candidate(
        "floor_decode_infer",
        "decode_infer.handler",
        FUNCTION_IMAGE,
        {"decode_infer.py": PEERS / "floor/decode_infer.py"},
        env=NO_TELEMETRY,
        routes=False,
    ),
)
