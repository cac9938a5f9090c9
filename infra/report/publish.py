"""Where the figures go: MLflow's store keeps the report, CloudWatch the numbers that alarms watch."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from infra.report.verdict import MIN_LABELS, MIN_PHOTOS

NAMESPACE = "PetClassifier"
EXPERIMENT = "pet-classifier-monitoring"
COUNTS = {"DriftedSignals"}


class NotPublished(Exception):
    """CloudWatch did not take the figures, or they are of more than one service; the message names it."""


def metrics(report: Mapping[str, Any]) -> dict[str, float]:
    """By the name that alarms know them by; what could not be judged, or is of too few photos, is not there."""
    quality, drift, overall = report["quality"]["overall"], report["drift"], report["overall"]
    enough = overall["predictions"] >= MIN_PHOTOS
    labelled = quality is not None and quality["labelled"] >= MIN_LABELS
    values = {
        "Accuracy": quality["accuracy"] if labelled else None,
        "AccuracyLowerBound": quality["accuracy_interval"][0] if labelled else None,
        "AccuracyUpperBound": quality["accuracy_interval"][1] if labelled else None,
        "EstimatedAccuracy": report["estimate"]["accuracy"] if enough and report["estimate"] else None,
        "LabelCoverage": overall["label_coverage"],
        "UnknownShare": overall["unknown_share"] if enough else None,
        "DriftedSignals": len(drift["drifted"]) if drift["judged"] else None,
    }
    return {name: float(value) for name, value in values.items() if value is not None}


def to_cloudwatch(report: Mapping[str, Any]) -> None:
    """Raises NotPublished."""
    if len(report["services"]) != 1:
        raise NotPublished(f"the log is of {', '.join(report['services'])}; expected one service to publish for")
    dimensions = [{"Name": "service", "Value": report["services"][0]}]
    data = [
        {
            "MetricName": name,
            "Dimensions": dimensions,
            "Value": value,
            "Unit": "Count" if name in COUNTS else "None",
        }
        for name, value in metrics(report).items()
    ]
    if not data:  # which CloudWatch would refuse
        return
    try:
        Session().create_client("cloudwatch").put_metric_data(Namespace=NAMESPACE, MetricData=data)
    except (BotoCoreError, ClientError) as error:
        raise NotPublished(f"CloudWatch did not take the figures: {error}") from None


def to_mlflow(report: Mapping[str, Any], folder: Path) -> None:
    """A run of an experiment of its own, in the store of the trainings: figures, and the report's files."""
    connect()
    mlflow.set_experiment(EXPERIMENT)
    tags = {name: report[name] for name in ("source", "first", "last")}
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
