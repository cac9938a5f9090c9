"""Test publishing the report to MLflow and CloudWatch."""

import json
from datetime import UTC, datetime, timedelta

import mlflow
import pytest
from botocore.session import Session

from infra.report import publish
from infra.report.__main__ import main
from tests.infra.report.lines import REPORT_METRICS, dark, feedback, prediction, request
from tests.support.http_server import refusing_url

pytestmark = pytest.mark.slow
ALARMS = {"AccuracyAlarm", "DriftAlarm"}


def test_next_report_resets_the_alarm(run, good):
    """The next report publishes 0 even if a new version without labels cannot be judged yet."""
    new = [prediction(number, model_version="new", timestamp="2026-02-01T00:00:00Z") for number in range(120)]
    _, before = run([*dark(good)])
    _, report = run([*dark(good), *new])
    assert ({"AccuracyAlarm": 0, "DriftAlarm": 1}, "new") == (publish.alarm_metrics(before), report["serving"])
    assert (False, False) == (report["drift"]["judged"], report["accuracy"]["judged"])
    assert {"AccuracyAlarm": 0, "DriftAlarm": 0} == publish.alarm_metrics(report)


def test_mlflow_run_has_the_report(run, good, store):
    """The run in the monitoring experiment has the figures, the version and both files."""
    _, report = run(good)
    client = mlflow.MlflowClient(store)
    experiment = client.get_experiment_by_name(publish.EXPERIMENT)
    [found] = client.search_runs([experiment.experiment_id], max_results=1)  # the latest
    assert report["quality"]["overall"]["accuracy"] == found.data.metrics["Accuracy"]
    assert report["overall"]["latency_ms"]["p99"] == pytest.approx(found.data.metrics["latency_p99_ms"])
    assert ", ".join(report["versions"]) == found.data.tags["model_version"]
    files = {file.path for file in client.list_artifacts(found.info.run_id)}
    assert {"report.html", "report.json"} == files


@pytest.fixture
def cloudwatch(aws):
    return Session().create_client("cloudwatch")


def test_figures_are_published_to_cloudwatch(run, good, cloudwatch):
    """The only dimension of each metric is the service, so that alarms can refer to it."""
    _, report = run(good, "--publish")
    listed = cloudwatch.list_metrics(Namespace="PetClassifier")["Metrics"]
    assert REPORT_METRICS | ALARMS == {metric["MetricName"] for metric in listed}
    assert [[{"Name": "service", "Value": "pet-classifier"}]] * len(REPORT_METRICS | ALARMS) == [
        metric["Dimensions"] for metric in listed
    ]
    now = datetime.now(UTC)
    [point] = cloudwatch.get_metric_statistics(
        Namespace="PetClassifier",
        MetricName="Accuracy",
        Dimensions=[{"Name": "service", "Value": "pet-classifier"}],
        StartTime=now - timedelta(minutes=5),
        EndTime=now + timedelta(minutes=5),
        Period=600,
        Statistics=["Average"],
    )["Datapoints"]
    assert report["quality"]["overall"]["accuracy"] == pytest.approx(point["Average"])


def test_unreachable_mlflow_is_reported(run, monkeypatch, capsys):
    """The command names the server and exits with 1; the report is written before."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with refusing_url() as url:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        code, report = run([request(0)])
    assert (1, 1) == (code, report["overall"]["requests"])
    assert capsys.readouterr().err.startswith(f"report: cannot log the report to MLflow: API request to {url}")


def test_figures_of_few_photos_are_not_published(run):
    """One prediction publishes neither accuracy nor an estimate."""
    _, report = run([prediction(0)])
    assert {"LabelCoverage": 0, "Reference": 0} == publish.serving_metrics(report)


def test_idle_week_is_published(tmp_path, run, cloudwatch):
    """A log group without lines publishes Reference and the alarms under its own name."""
    Session().create_client("logs").create_log_group(logGroupName="/aws/lambda/idle")
    assert 0 == main(["/aws/lambda/idle", "--since", "7d", "--out", str(tmp_path), "--publish"])
    listed = cloudwatch.list_metrics(Namespace="PetClassifier")["Metrics"]
    assert {"Reference", *ALARMS} == {metric["MetricName"] for metric in listed}
    assert [[{"Name": "service", "Value": "idle"}]] * 3 == [metric["Dimensions"] for metric in listed]


def test_late_labels_are_matched_in_the_log_group(tmp_path, store, monkeypatch, cloudwatch):
    """The report fetches earlier predictions if a label of the window needs them."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    logs, now = Session().create_client("logs"), datetime.now(UTC)
    logs.create_log_group(logGroupName="/aws/lambda/pets")
    logs.create_log_stream(logGroupName="/aws/lambda/pets", logStreamName="one")
    for days, line in ((9, prediction), (1, feedback)):
        moment = now - timedelta(days=days)
        event = {"timestamp": int(moment.timestamp() * 1000), "message": line(0, timestamp=moment.isoformat())}
        logs.put_log_events(logGroupName="/aws/lambda/pets", logStreamName="one", logEvents=[event])
    assert 0 == main(["/aws/lambda/pets", "--since", "7d", "--out", str(tmp_path)])
    report = json.loads((tmp_path / "report.json").read_text())
    assert (1, 1) == (report["versions"]["1"]["labels"], report["lines"]["earlier"])


def test_two_services_are_not_published(run, capsys):
    """The report is written, but the command exits with 1."""
    code, report = run([request(0), request(1, service="prod")], "--publish")
    expected = "report: the log has lines of pet-classifier, prod; expected one service\n"
    assert (1, 2, True) == (code, report["overall"]["requests"], capsys.readouterr().err.endswith(expected))
