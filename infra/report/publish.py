"""Publish the report to MLflow, and the figures that alarms watch to CloudWatch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from infra.report.alarms import MIN_LABELS, MIN_PHOTOS
from lambda_app.telemetry.fields import NAMESPACE

EXPERIMENT = "pet-classifier-monitoring"
COUNT_METRICS = {"DriftedSignals", "Reference", "DriftAlarm", "AccuracyAlarm"}


class PublishError(Exception):
    """CloudWatch rejected the figures, MLflow cannot store them, or the log does not belong to exactly one service."""


def serving_metrics(report: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures of the serving version by metric name.

    Figures that could not be judged, or that rest on too few photos, are missing. `Reference` is always present: 0 if
    the serving version has no reference, otherwise 1, also for a log without requests.
    """
    values: dict[str, Any] = {"Reference": report["serving"] is None or report["reference"]}
    if served := report["versions"].get(report["serving"]):
        low, high = served["accuracy_interval"] or (None, None)
        label_metrics = {"Accuracy": served["accuracy"], "AccuracyLowerBound": low, "AccuracyUpperBound": high}
        values |= label_metrics if served["labels"] >= MIN_LABELS else {}
        values |= {"EstimatedAccuracy": served["confidence"]} if served["predictions"] >= MIN_PHOTOS else {}
        values["LabelCoverage"] = served["label_coverage"]
    values["AccuracyLimit"] = report["accuracy"].get("limit")
    values["DriftedSignals"] = len(report["drift"]["drifted"]) if report["drift"]["judged"] else None
    return {name: float(value) for name, value in values.items() if value is not None}


def alarm_metrics(report: Mapping[str, Any]) -> dict[str, float]:
    """Return 1 for each alarm of the report and 0 for all others, so that each report replaces the previous alarms.

    An alarm that could not be judged is 0, too.
    """
    alarms = {alarm["alarm"] for alarm in report["alarms"]}
    return {"DriftAlarm": float("drift" in alarms), "AccuracyAlarm": float("accuracy" in alarms)}


def to_cloudwatch(report: Mapping[str, Any]) -> None:
    """Put the figures and the alarms of a report into CloudWatch. Raise `PublishError`."""
    # A log without requests names no service. Its log group is /aws/lambda/SERVICE (template.yaml).
    services = report["services"] or [report["source"].rpartition("/")[2]]
    if len(services) != 1:
        raise PublishError(f"the log has lines of {', '.join(services)}; expected one service")
    dimensions = [{"Name": "service", "Value": services[0]}]
    data = [
        {
            "MetricName": name,
            "Dimensions": dimensions,
            "Value": value,
            "Unit": "Count" if name in COUNT_METRICS else "None",
        }
        for name, value in (serving_metrics(report) | alarm_metrics(report)).items()
    ]
    try:
        Session().create_client("cloudwatch").put_metric_data(Namespace=NAMESPACE, MetricData=data)
    except (BotoCoreError, ClientError) as error:
        raise PublishError(f"CloudWatch rejected the figures: {error}") from None


def to_mlflow(report: Mapping[str, Any], folder: Path) -> None:
    """Log the figures and the files of a report as a run of the monitoring experiment. Raise `PublishError`."""
    import mlflow  # noqa: PLC0415  # takes a second, and its 50 MB would add to the peak that reading the log needs

    tags = {name: str(report[name]) for name in ("source", "first", "last", "retrain")}
    tags |= {"model_version": ", ".join(report["versions"]), "alarms": str(len(report["alarms"]))}
    try:
        mlflow.set_experiment(EXPERIMENT)
        with mlflow.start_run(tags=tags):
            mlflow.log_metrics(serving_metrics(report) | _overall_metrics(report))
            for name in ("report.json", "report.html"):
                mlflow.log_artifact(str(folder / name))
    except mlflow.MlflowException as error:
        raise PublishError(f"cannot log the report to MLflow: {error}") from None


def _overall_metrics(report: Mapping[str, Any]) -> dict[str, float]:
    overall = report["overall"]
    names = ("requests", "predictions", "error_rate", "cold_start_rate", "confidence")
    figures = {name: overall[name] for name in names if overall[name] is not None}
    figures |= {f"latency_{name}_ms": value for name, value in (overall["latency_ms"] or {}).items()}
    signals = report["drift"].get("signals", {})
    return figures | {f"drift_{name}": values["ratio"] for name, values in signals.items()}
