"""Check that DVC and MLflow store files in S3, over HTTP on moto's server instead of AWS."""

import shutil
import sys
from pathlib import Path

import boto3
import mlflow
import pytest
from click.testing import CliRunner
from mlflow import experiments

from tests.support import ROOT
from tests.support.commands import ISOLATED, PROGRAMS_PATH, run
from tests.training.workspace import write_params
from training import config
from training.tracking import start_run

BUCKET = "pets-of-the-test"


@pytest.fixture
def project(aws, tmp_path, monkeypatch):
    """Return a working directory with params.yaml, whose programs use moto instead of AWS."""
    write_params(tmp_path)
    monkeypatch.chdir(tmp_path)
    settings = ISOLATED | {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db", "PATH": PROGRAMS_PATH}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    return tmp_path


DVC = """
import sys
from dvc.cli import main

for command in sys.argv[1:]:
    if code := main(command.split()):
        sys.exit(code)
"""


def dvc(*commands):
    """Run DVC's commands in one process, because starting DVC takes two seconds."""
    run(sys.executable, "-c", DVC, *commands, folder=Path())


def stored(prefix):
    """Return the bytes of every object under a prefix of the bucket."""
    s3 = boto3.client("s3")
    listed = s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
    return [s3.get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read() for item in listed]


def test_dvc_pushes_and_pulls(project, cat_jpg):
    """With the runbook's remote, DVC restores a file from S3 after the cache is deleted."""
    run("git", "init", "--quiet", folder=project)
    Path(".dvc").mkdir()
    shutil.copyfile(ROOT / ".dvc/config", ".dvc/config")
    shutil.copyfile(ROOT / ".dvc/.gitignore", ".dvc/.gitignore")
    Path("cat.jpg").write_bytes(cat_jpg)
    dvc(f"remote add --default s3 s3://{BUCKET}/dvc", "add cat.jpg", "push")
    assert [cat_jpg] == stored("dvc/")
    Path("cat.jpg").unlink()
    shutil.rmtree(".dvc/cache")
    dvc("pull")
    assert cat_jpg == Path("cat.jpg").read_bytes()


def test_mlflow_stores_artifacts(project, cat_jpg):
    """With an artifact location in S3, MLflow uploads an artifact of a run and downloads it again."""
    name = config.load(config.Tracking).experiment
    # Runs in this process, which has imported MLflow. tests/infra/test_runbook.py runs the command of the runbook.
    arguments = ["create", "--experiment-name", name, "--artifact-location", f"s3://{BUCKET}/mlflow"]
    result = CliRunner().invoke(experiments.commands, arguments)
    assert 0 == result.exit_code, result.output
    Path("cat.jpg").write_bytes(cat_jpg)
    with start_run() as active:
        mlflow.log_artifact("cat.jpg")
    assert f"s3://{BUCKET}/mlflow/{active.info.run_id}/artifacts" == active.info.artifact_uri
    assert [cat_jpg] == stored("mlflow/")
    copy = mlflow.artifacts.download_artifacts(run_id=active.info.run_id, artifact_path="cat.jpg", dst_path="copy")
    assert cat_jpg == Path(copy).read_bytes()
