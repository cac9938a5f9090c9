"""Where the figures go: MLflow's store keeps the report, CloudWatch the numbers that alarms watch."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from infra.report.alarms import MIN_LABELS, MIN_PHOTOS

NAMESPACE = "PetClassifier"
EXPERIMENT = "pet-classifier-monitoring"
COUNTS = {"DriftedSignals", "Reference", "DriftAlarm", "AccuracyAlarm"}


class NotPublished(Exception):
    """CloudWatch did not take the figures, or whose they are is not known; the message names it."""


def metrics(report: Mapping[str, Any]) -> dict[str, float]:
    """Of the version that serves, by the name that alarms know them by; what could not be judged, or is of too few
    photos, is not there. `Reference` always is: 0 where what serves cannot be judged.
    """
    values: dict[str, Any] = {"Reference": report["reference"] or report["serving"] is None}
    if served := report["versions"].get(report["serving"]):
        low, high = served["accuracy_interval"] or (None, None)
        labelled = {"Accuracy": served["accuracy"], "AccuracyLowerBound": low, "AccuracyUpperBound": high}
        values |= labelled if served["labelled"] >= MIN_LABELS else {}
        values |= {"EstimatedAccuracy": served["confidence"]} if served["predictions"] >= MIN_PHOTOS else {}
        values["LabelCoverage"] = served["label_coverage"]
    values["AccuracyLimit"] = report["accuracy"].get("limit")
    values["DriftedSignals"] = len(report["drift"]["drifted"]) if report["drift"]["judged"] else None
    return {name: float(value) for name, value in values.items() if value is not None}


def rung(report: Mapping[str, Any]) -> dict[str, float]:
    """1 for each alarm that the report found, and 0 for each that it did not, also where it could not judge: what one
    report found stands until the next one, and no longer.
    """
    found = {alarm["alarm"] for alarm in report["alarms"]}
    return {"DriftAlarm": float("drift" in found), "AccuracyAlarm": float("accuracy" in found)}


def to_cloudwatch(report: Mapping[str, Any]) -> None:
    """Raises NotPublished."""
    # Of a week without a request the log group still tells: it is named as its function (template.yaml).
    services = report["services"] or [report["source"].rpartition("/")[2]]
    if len(services) != 1:
        raise NotPublished(f"the log is of {', '.join(services)}; expected one service to publish for")
    dimensions = [{"Name": "service", "Value": services[0]}]
    data = [
        {
            "MetricName": name,
            "Dimensions": dimensions,
            "Value": value,
            "Unit": "Count" if name in COUNTS else "None",
        }
        for name, value in (metrics(report) | rung(report)).items()
    ]
    try:
        Session().create_client("cloudwatch").put_metric_data(Namespace=NAMESPACE, MetricData=data)
    except (BotoCoreError, ClientError) as error:
        raise NotPublished(f"CloudWatch did not take the figures: {error}") from None


def to_mlflow(report: Mapping[str, Any], folder: Path) -> None:
    """A run of an experiment of its own, in the store of the trainings: figures, and the report's files."""
    connect()
    mlflow.set_experiment(EXPERIMENT)
    tags = {name: str(report[name]) for name in ("source", "first", "last", "retrain")}
    tags |= {"model_version": ", ".join(report["versions"]), "alarms": str(len(report["alarms"]))}
    with mlflow.start_run(tags=tags):
        mlflow.log_metrics(metrics(report) | _figures(report))
        for name in ("report.json", "report.html"):
            mlflow.log_artifact(str(folder / name))


def connect() -> None:
    """As `training.tracking` does, which this room does not import."""
    mlflow.set_tracking_uri(os.environ.get("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db"))


def _figures(report: Mapping[str, Any]) -> dict[str, float]:
    overall = report["overall"]
    names = ("requests", "predictions", "error_rate", "cold_start_rate", "confidence")
    found = {name: overall[name] for name in names if overall[name] is not None}
    found |= {f"latency_{name}_ms": value for name, value in (overall["latency_ms"] or {}).items()}
    signals = report["drift"].get("signals", {})
    return found | {f"drift_{name}": values["distance"] / values["limit"] for name, values in signals.items()}
