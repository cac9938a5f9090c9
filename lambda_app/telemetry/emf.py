"""Metrics as log lines, in the embedded metric format: CloudWatch makes metrics of them without a call to its API."""

import json
from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.metrics.provider.cloudwatch_emf.cloudwatch import AmazonCloudWatchEMFProvider

NAMESPACE = "PetClassifier"
Metric = dict[str, Any]  # as Powertools serialises it


def count(*values: int) -> Metric:
    return {"Unit": MetricUnit.Count.value, "Value": [float(value) for value in values]}


def milliseconds(*values: float) -> Metric:
    return {"Unit": MetricUnit.Milliseconds.value, "Value": list(values)}


class Metrics:
    """Powertools' serialiser alone: its add_metric and add_dimension would double the 55 microseconds of a request."""

    def __init__(self, dimensions: dict[str, str]) -> None:
        self.dimensions = dimensions
        self.provider = AmazonCloudWatchEMFProvider(namespace=NAMESPACE)

    def put(self, overall: dict[str, Metric], by_class: Mapping[str, dict[str, Metric]], request_id: str) -> None:
        """One line: the metrics of every request, and those of a class; one more for each further class.

        An id is a property: as a dimension it would make metrics of its own.
        """
        line: Any = self.provider.serialize_metric_set(overall, self.dimensions, {"request_id": request_id})
        for class_name, metrics in by_class.items():
            more: Any = self.provider.serialize_metric_set(metrics, self.dimensions | {"class": class_name}, {})
            # Of all classes and versions together too, for an alarm that need not know their names.
            more["_aws"]["CloudWatchMetrics"][0]["Dimensions"].append(["service"])
            if line:
                more["_aws"]["CloudWatchMetrics"] += line["_aws"]["CloudWatchMetrics"]
            _print(line | more)
            line = {}
        if line:
            _print(line)


def _print(line: dict[str, Any]) -> None:
    print(json.dumps(line, separators=(",", ":")))
