"""`make baselines`: every network of training/tools/baselines.yaml, trained alike on the same photos, side by side.

Each has a project of its own under artifacts/baselines/, in which the pipeline's own stages run, in one process. A
finished network is not run again; an interrupted one resumes from its last epoch.
"""

import csv
import importlib
import json
import multiprocessing
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from shutil import copyfile
from statistics import median
from typing import Any

import mlflow
import yaml

from training import config
from training.data import read_manifest
from training.evaluate import METRICS as EVALUATED
from training.model import CHECKPOINT, count_parameters, load_checkpoint
from training.prepare import MANIFEST
from training.source import EXTRA, OUTLIERS, sha256
from training.tools.results_page import hardware, insert, percent, table
from training.tracking import connect
from training.train import HISTORY

PLAN = Path("training/tools/baselines.yaml")
BASELINES = Path("artifacts/baselines")
CANDIDATES = Path("artifacts/candidates")  # of export.quantize; this room may not import that one
LATENCY = Path("artifacts/metrics/latency.json")  # of export.checks.latency
PRECISIONS = ("fp32", "int8")
Sections = dict[str, dict[str, Any]]


def main() -> None:
    plan = yaml.safe_load(PLAN.read_text())
    connect()
    mlflow.set_experiment(config.load(config.Tracking).experiment)  # here: where it is made, its files will lie
    results = [run(name, override(plan, name)) for name in plan["networks"]]
    insert("baselines", render(results))


def override(plan: dict[str, Any], name: str) -> Sections:
    """params.yaml with what the plan says for all, and then for this network."""
    params: Sections = yaml.safe_load(Path("params.yaml").read_text())
    network = {"train": {"architecture": name} | plan["networks"][name]}
    for overrides in (plan["common"], network):
        params |= {section: params[section] | values for section, values in overrides.items()}
    return params


def run(name: str, params: Sections) -> dict[str, Any]:
    """The figures of one network: those on file if they follow from the same params and photos, else new ones."""
    folder = BASELINES / name
    set_up(folder, params)
    result, identity = folder / "result.json", identify(folder)
    if result.exists() and (figures := json.loads(result.read_text()))["identity"] == identity:
        return dict(figures)
    print(f"--- {name}", flush=True)
    stages = ["training.evaluate", "export.convert", "export.quantize"]
    if not trained(folder, identity):
        stages.insert(0, "training.train")
    start_stages(folder, name, stages)
    start_stages(folder, name, ["export.checks.latency"])  # of a fresh process, as of a function
    figures = {"network": name, "identity": identity, "hardware": hardware(), **measure(folder)}
    result.write_text(json.dumps(figures, indent=2) + "\n")
    return figures


def set_up(folder: Path, params: Sections) -> None:
    """What the stages read: the same photos and manifest, and params of its own."""
    for path in (folder / MANIFEST, folder / "data/raw"):
        path.parent.mkdir(parents=True, exist_ok=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    copyfile(MANIFEST, folder / MANIFEST)  # a link would change under a training
    if not (folder / "data/raw").is_symlink():
        (folder / "data/raw").symlink_to(Path("data/raw").resolve())


def identify(folder: Path) -> dict[str, Any]:
    """What the figures follow from, as JSON reads it back."""
    path = folder / "params.yaml"
    params = {
        "train": asdict(config.load(config.Train, path)),
        "augment": asdict(config.load(config.Augment, path)),
        "evaluate": asdict(config.load(config.Evaluate, path)),
    }
    sets = sorted(path.name for place in (EXTRA, OUTLIERS) for path in place.glob("[!.]*"))
    return as_json(params | {"manifest": sha256(folder / MANIFEST), "sets": sets})


def trained(folder: Path, identity: dict[str, Any]) -> bool:
    """Whether the checkpoint there is of these params and photos."""
    if not (folder / CHECKPOINT).exists():
        return False
    _, checkpoint = load_checkpoint(folder / CHECKPOINT)
    made_from = {"train": checkpoint["train"], "augment": checkpoint["augment"], "manifest": checkpoint["data_hash"]}
    return identity | as_json(made_from) == identity


def as_json(values: dict[str, Any]) -> dict[str, Any]:
    """With lists for tuples."""
    return dict(json.loads(json.dumps(values)))


def start_stages(folder: Path, name: str, stages: list[str]) -> None:
    """Run the stages in a process of their own, whose memory ends with it. Raise SystemExit if one of them fails."""
    process = multiprocessing.get_context("spawn").Process(target=run_stages, args=(folder, environment(name), stages))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{name}: the stages {', '.join(stages)} ended with exit code {process.exitcode}; expected 0")


def run_stages(folder: Path, variables: dict[str, str], stages: list[str]) -> None:
    """Run the stages, named as modules, one after the other in their project; leaves its environment behind."""
    os.environ.update(variables)
    os.chdir(folder)
    for stage in stages:
        importlib.import_module(stage).main()


def environment(name: str) -> dict[str, str]:
    """The stages use the store of this project; MLflow tags and names every run that they start."""
    return {
        "MLFLOW_TRACKING_URI": os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{Path.cwd()}/mlflow.db"),
        "MLFLOW_RUN_CONTEXT": json.dumps({"baseline": name}),
        "MLFLOW_RUN_NAME": f"baseline {name}",
    }


def measure(folder: Path) -> dict[str, Any]:
    """What the stages left behind, as the figures of the table."""
    evaluated = json.loads((folder / EVALUATED).read_text())
    with (folder / HISTORY).open(newline="") as file:
        speeds = [float(epoch["images_per_second"]) for epoch in csv.DictReader(file)]
    photos = sum(row["split"] == "train" for row in read_manifest(folder / MANIFEST))
    files = {precision: folder / CANDIDATES / f"{precision}.onnx" for precision in PRECISIONS}
    return {
        "accuracy": {name: figures["accuracy"] for name, figures in evaluated["sets"].items()},
        "recognised": {name: figures["recognised"] for name, figures in evaluated["outliers"].items()},
        "parameters": count_parameters(load_checkpoint(folder / CHECKPOINT)[0]),
        "mb": {precision: path.stat().st_size / 1e6 for precision, path in files.items()},
        "latency_ms": json.loads((folder / LATENCY).read_text()),
        "minutes": sum(photos / speed for speed in speeds) / 60,
        "images_per_second": median(speeds),
    }


def render(results: list[dict[str, Any]]) -> str:
    headings = ["network", *(f"accuracy, {name}" for name in results[0]["accuracy"])]
    headings += [f"recognised as unknown, {name}" for name in results[0]["recognised"]]
    headings += ["parameters", *(f"{p} MB" for p in PRECISIONS), *(f"{p} ms" for p in PRECISIONS)]
    headings += ["training, minutes", "images/s"]
    return table(headings, map(row, results)) + "\n\n" + caption(results[0])


def row(result: Mapping[str, Any]) -> list[str]:
    start = "pretrained" if result["identity"]["train"]["weights"] else "from scratch"
    shares = [*result["accuracy"].values(), *result["recognised"].values()]
    return [
        f"`{result['network']}`, {start}",
        *map(percent, shares),
        f"{result['parameters'] / 1e6:.2f} M",
        *(f"{result['mb'][precision]:.2f}" for precision in PRECISIONS),
        *(f"{result['latency_ms'][precision]:.2f}" for precision in PRECISIONS),
        f"{result['minutes']:.1f}",
        f"{result['images_per_second']:.0f}",
    ]


def caption(result: Mapping[str, Any]) -> str:
    train, test = result["identity"]["train"], result["identity"]["evaluate"]
    return (
        f"Each: {train['epochs']} epochs at {train['image_size']} px with the same augmentation, scored in fp32 at "
        f"{test['image_size']} px. Milliseconds: ONNX Runtime, one photo on one thread, median. Minutes: of training, "
        f"without validation. Measured on {result['hardware']}.\n"
    )


if __name__ == "__main__":
    main()
