"""Test the comparison of baselines with two small networks and one epoch on drawings."""

import json
import shutil
from contextlib import chdir
from pathlib import Path
from types import SimpleNamespace

import mlflow
import pytest
import yaml

from export import convert
from export.experiments import baselines
from export.experiments.baselines import PLAN, PROJECTS, identify, override_params, read_results, set_up, start_stages
from tests.support import ROOT
from tests.support.drawing import write_dataset
from tests.support.mlflow_stores import write_store
from tests.training.workspace import link_photos, write_params
from training import config, prepare
from training.figures import METRICS, read_figures
from training.interruption import UserError
from training.manifest import MANIFEST, read_manifest
from training.model import BASELINES, CHECKPOINT
from training.networks import TIMM
from training.tools.results_page import render_baselines

SCRATCH = {"weights": None, "distillation_weight": 0, "freeze_batch_norm": False, "body_lr": 1}
SMALL_PLAN = {
    "common": {"train": {"epochs": 1}, "evaluate": {"image_size": 32}},
    "networks": {"logistic": SCRATCH | {"lr": 0.001}, "simple_cnn": SCRATCH | {"lr": 0.01}},
}


def fail():
    """Fail, as a stage."""
    raise ValueError


def fail_before(stage):
    """Return `start_stages` with a failing stage instead of this one."""

    def start(folder, name, stages):
        start_stages(folder, name, [*stages[: stages.index(stage)], fail])

    return start


def start_here(folder, name, stages):
    """Run the stages in this process, which has already imported PyTorch and MLflow."""
    with chdir(folder), pytest.MonkeyPatch.context() as patch:
        for variable, value in baselines.environment(name).items():
            patch.setenv(variable, value)
        baselines.run_stages(Path(), {}, stages)


def modification_times(pattern):
    """Return when each of these files was last modified."""
    return {path: path.stat().st_mtime_ns for path in sorted(PROJECTS.glob(pattern))}


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """Return a project in which a stage failed after the first network was trained and evaluated."""
    folder = tmp_path_factory.mktemp("compared")
    write_params(folder, prepare__train_share=0.6)
    link_photos(folder, write_dataset(tmp_path_factory.mktemp("photos"), {"cat": 40, "dog": 40}))
    (folder / PLAN).parent.mkdir(parents=True)
    (folder / PLAN).write_text(yaml.safe_dump(SMALL_PLAN))
    with chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", write_store(folder))
        patch.setenv("OMP_NUM_THREADS", "1")
        prepare.main()
        patch.setattr(baselines, "start_stages", fail_before(convert.main))
        with pytest.raises(UserError) as failed:
            baselines.main()
        checkpoints = modification_times("*/artifacts/checkpoint.pt")
        evaluated = json.loads((PROJECTS / "logistic" / METRICS / "evaluate.json").read_text())
    return SimpleNamespace(folder=folder, checkpoints=checkpoints, evaluated=evaluated, error=str(failed.value))


@pytest.fixture(scope="module")
def compared(interrupted):
    """Return the same project after a second `make baselines`, which trained and compared both networks."""
    with chdir(interrupted.folder), pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{interrupted.folder}/mlflow.db")
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setattr(baselines, "start_stages", start_here)
        baselines.main()
    return interrupted.folder


@pytest.fixture
def in_compared(compared, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{compared}/mlflow.db")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(compared)
    return compared


def test_table_has_a_row_for_each_network(in_compared):
    """Rows are in the order of the plan, with a value in every column."""
    lines = render_baselines(read_figures("baselines")).splitlines()
    table = [line for line in lines if line.startswith("| ") and not line.startswith("| ---")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    assert ["network", "`logistic`, from scratch", "`simple_cnn`, from scratch"] == [row[0] for row in rows]
    assert ["accuracy, test", "parameters", "fp32 MB", "int8 MB", "fp32 ms", "int8 ms"] == rows[0][1:7]
    assert all(all(row) for row in rows)


def test_results_come_from_the_stages(in_compared):
    """The accuracy is that of the evaluation, and the sizes are those of the files."""
    folder = PROJECTS / "simple_cnn"
    result = json.loads((folder / "result.json").read_text())
    evaluated = json.loads((folder / "artifacts/metrics/evaluate.json").read_text())
    assert evaluated["sets"]["test"]["accuracy"] == result["accuracy"]["test"]
    assert (folder / "artifacts/candidates/fp32.onnx").stat().st_size / 1e6 == result["mb"]["fp32"]
    assert result["mb"]["int8"] < result["mb"]["fp32"]
    assert result["identity"]["train"]["lr"] == 0.01


def test_minutes_include_repeated_photos(in_compared, tmp_path):
    """If an epoch repeats its photos, the minutes count each repetition."""
    photos = sum(row.split == "train" for row in read_manifest(MANIFEST))
    once, params = read_results(PROJECTS / "logistic")["minutes"], override_params(SMALL_PLAN, "logistic")
    folder = shutil.copytree(PROJECTS / "logistic", tmp_path / "logistic", symlinks=True)
    params["train"] |= {"min_steps": photos, "batch_size": 16}  # as many batches as photos
    set_up(folder, params)
    assert pytest.approx(16 * once) == read_results(folder)["minutes"]


def test_runs_are_in_the_store_of_the_project(in_compared):
    """Each training is a run of the same experiment, tagged with the network's name."""
    client = mlflow.MlflowClient(f"sqlite:///{in_compared}/mlflow.db")
    experiment = client.get_experiment_by_name("pet-classifier")
    runs = client.search_runs([experiment.experiment_id])
    assert {"logistic", "simple_cnn"} == {run.data.tags["baseline"] for run in runs}
    assert all("test_accuracy" in run.data.metrics for run in runs)
    assert (in_compared / "mlruns").as_posix() in experiment.artifact_location


def test_finished_network_is_not_run_again(in_compared):
    """Another `make baselines` starts no stage and records the same figures."""
    figures, files = (
        read_figures("baselines"),
        modification_times("*/artifacts/**/*.onnx") | modification_times("*/result.json"),
    )
    baselines.main()
    assert files == modification_times("*/artifacts/**/*.onnx") | modification_times("*/result.json")
    assert figures == read_figures("baselines")


def test_trained_network_is_not_trained_again(interrupted, in_compared):
    """For a trained network without results, the later stages run; the checkpoint stays."""
    assert [PROJECTS / "logistic" / CHECKPOINT] == list(interrupted.checkpoints)
    assert interrupted.checkpoints == modification_times("logistic/artifacts/checkpoint.pt")
    scored = json.loads((PROJECTS / "logistic/result.json").read_text())["accuracy"]
    assert {name: figures["accuracy"] for name, figures in interrupted.evaluated["sets"].items()} == scored


def test_failed_stage_is_an_error(interrupted):
    """A failing stage ends the comparison with the network, its stages and the exit code."""
    stages = f"training.train, training.evaluate, {__name__}"
    assert f"logistic: the stages {stages} ended with exit code 1; expected 0" == interrupted.error


@pytest.mark.parametrize(("key", "value"), [("lr", 0.5), ("epochs", 2)])
def test_other_params_need_another_training(in_compared, tmp_path, key, value):
    """A checkpoint is only used for the params with which it was trained."""
    checkpoint = (PROJECTS / "logistic" / CHECKPOINT).resolve()
    folder, params = tmp_path / "logistic", override_params(SMALL_PLAN, "logistic")
    set_up(folder, params)
    (folder / CHECKPOINT).symlink_to(checkpoint)
    assert baselines.is_trained(folder, identify(folder))
    params["train"][key] = value
    set_up(folder, params)
    assert not baselines.is_trained(folder, identify(folder))


def test_plan_matches_params_yaml(tmp_path, monkeypatch):
    """The committed plan has every network and overrides only existing keys."""
    monkeypatch.chdir(ROOT)
    plan = yaml.safe_load(PLAN.read_text())
    assert {*TIMM, *BASELINES} == set(plan["networks"])
    for name in plan["networks"]:
        path = tmp_path / "params.yaml"
        path.write_text(yaml.safe_dump(override_params(plan, name)))
        for section in (config.Train, config.Augment, config.Evaluate):
            config.load(section, path)
