"""`make baselines`: train every network of export/experiments/baselines.yaml on the same photos, and compare them.

Each network has a project folder under artifacts/baselines/, in which the stages of the pipeline run. A finished
network is not run again; an interrupted one resumes from its last epoch.
"""

import csv
import json
import multiprocessing
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from shutil import copyfile
from statistics import median
from typing import Any

import mlflow
import yaml

from export import convert, quantize
from export.checks import latency
from export.files import CANDIDATES, PRECISIONS, megabytes
from training import config, evaluate, train
from training.figures import METRICS, write_figures, write_json
from training.interruption import UserError
from training.manifest import MANIFEST, read_manifest
from training.model import CHECKPOINT, count_parameters, load_checkpoint
from training.sampling import count_repeats
from training.source import EXTRA, OUTLIERS, sha256
from training.tools.results_page import describe_hardware, render_baselines
from training.train import HISTORY

PLAN = Path("export/experiments/baselines.yaml")
PROJECTS = Path("artifacts/baselines")
Stage = Callable[[], None]
Sections = dict[str, dict[str, Any]]


def main() -> None:
    plan = yaml.safe_load(PLAN.read_text())
    # Create the experiment from this folder, since MLflow puts its artifacts beside the folder that creates it.
    mlflow.set_experiment(config.load(config.Tracking).experiment)
    results = [run(name, override_params(plan, name)) for name in plan["networks"]]
    write_figures("baselines", results)
    print(render_baselines(results))


def override_params(plan: dict[str, Any], name: str) -> Sections:
    """Return params.yaml with the overrides that the plan has for all networks, and then those for this network."""
    params: Sections = yaml.safe_load(Path("params.yaml").read_text())
    network = {"train": {"architecture": name} | plan["networks"][name]}
    for overrides in (plan["common"], network):
        params |= {section: params[section] | values for section, values in overrides.items()}
    return params


def run(name: str, params: Sections) -> dict[str, Any]:
    """Return the results of one network: the saved ones if params and photos are the same, else those of a new run."""
    folder = PROJECTS / name
    set_up(folder, params)
    path, identity = folder / "result.json", identify(folder)
    if path.exists() and (result := json.loads(path.read_text()))["identity"] == identity:
        return dict(result)
    print(f"--- {name}", flush=True)
    stages = [evaluate.main, convert.main, quantize.main]
    if not is_trained(folder, identity):
        stages.insert(0, train.main)
    start_stages(folder, name, stages)
    start_stages(folder, name, [latency.main])  # in a new process, like a Lambda function
    result = {"network": name, "identity": identity, "hardware": describe_hardware(), **read_results(folder)}
    write_json(path, result)
    return result


def set_up(folder: Path, params: Sections) -> None:
    """Create a project folder with its own params and with the same photos and manifest."""
    for path in (folder / MANIFEST, folder / "data/raw"):
        path.parent.mkdir(parents=True, exist_ok=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    copyfile(MANIFEST, folder / MANIFEST)  # a link could change during a training
    if not (folder / "data/raw").is_symlink():
        (folder / "data/raw").symlink_to(Path("data/raw").resolve())


def identify(folder: Path) -> dict[str, Any]:
    """Return params, photos and names of sets, as JSON would read them: a change of one repeats the network.

    Code and weights are not compared; after a change of them, delete the folder.
    """
    path = folder / "params.yaml"
    params = {
        "train": asdict(config.load(config.Train, path)),
        "augment": asdict(config.load(config.Augment, path)),
        "evaluate": asdict(config.load(config.Evaluate, path)),
    }
    sets = sorted(path.name for place in (EXTRA, OUTLIERS) for path in place.glob("[!.]*"))
    return to_json_types(params | {"manifest": sha256(folder / MANIFEST), "sets": sets})


def is_trained(folder: Path, identity: dict[str, Any]) -> bool:
    """Return whether the folder has a checkpoint that was trained with these params and photos."""
    if not (folder / CHECKPOINT).exists():
        return False
    _, checkpoint = load_checkpoint(folder / CHECKPOINT)
    inputs = {"train": checkpoint["train"], "augment": checkpoint["augment"], "manifest": checkpoint["data_hash"]}
    return identity | to_json_types(inputs) == identity


def to_json_types(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values with lists instead of tuples."""
    return dict(json.loads(json.dumps(values)))


def start_stages(folder: Path, name: str, stages: list[Stage]) -> None:
    """Run the stages in a new process, which frees its memory when it exits. Raise `UserError` if a stage fails."""
    process = multiprocessing.get_context("spawn").Process(target=run_stages, args=(folder, environment(name), stages))
    process.start()
    process.join()
    if process.exitcode:
        names = ", ".join(stage.__module__ for stage in stages)
        raise UserError(f"{name}: the stages {names} ended with exit code {process.exitcode}; expected 0")


def run_stages(folder: Path, variables: dict[str, str], stages: list[Stage]) -> None:
    """Run stages in the project folder. Change this process's environment and folder."""
    os.environ.update(variables)
    os.chdir(folder)
    try:
        for stage in stages:
            stage()
    except UserError as error:  # multiprocessing does not call sys.excepthook
        sys.exit(str(error))


def environment(name: str) -> dict[str, str]:
    """Return the variables with which MLflow uses the store of this project, and tags and names every run."""
    return {
        "MLFLOW_TRACKING_URI": os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{Path.cwd()}/mlflow.db"),
        "MLFLOW_RUN_CONTEXT": json.dumps({"baseline": name}),
        "MLFLOW_RUN_NAME": f"baseline {name}",
    }


def read_results(folder: Path) -> dict[str, Any]:
    """Read the columns of the table from the files that the stages wrote."""
    evaluated = json.loads((folder / METRICS / "evaluate.json").read_text())
    with (folder / HISTORY).open(newline="") as file:
        speeds = [float(epoch["images_per_second"]) for epoch in csv.DictReader(file)]
    photos = sum(row.split == "train" for row in read_manifest(folder / MANIFEST))
    repeats = count_repeats(photos, config.load(config.Train, folder / "params.yaml"))
    files = {precision: folder / CANDIDATES / f"{precision}.onnx" for precision in PRECISIONS}
    return {
        "accuracy": {name: scores["accuracy"] for name, scores in evaluated["sets"].items()},
        "unknown_rate": {name: scores["unknown_rate"] for name, scores in evaluated["outliers"].items()},
        "parameters": count_parameters(load_checkpoint(folder / CHECKPOINT)[0]),
        "mb": {precision: megabytes(path) for precision, path in files.items()},
        "latency_ms": json.loads((folder / METRICS / "latency.json").read_text()),
        "minutes": sum(repeats * photos / speed for speed in speeds) / 60,
        "images_per_second": median(speeds),
    }


if __name__ == "__main__":
    main()
