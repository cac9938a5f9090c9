"""Write metrics as log lines in the embedded metric format (EMF). CloudWatch extracts them without an API call.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import time
from collections.abc import Mapping
from typing import Any

from lambda_app.telemetry.fields import NAMESPACE
from lambda_app.telemetry.logger import write_line

Metric = tuple[str, list[float]]  # unit and values


def count(*values: int) -> Metric:
    """Return a metric of counts."""
    return "Count", [float(value) for value in values]


def milliseconds(*values: float) -> Metric:
    """Return a metric of durations in milliseconds."""
    return "Milliseconds", list(values)


class Metrics:
    """Print EMF lines with the same dimensions."""

    def __init__(self, dimensions: dict[str, str]) -> None:
        self.dimensions = dimensions

    def put(self, overall: dict[str, Metric], by_class: Mapping[str, dict[str, Metric]], request_id: str) -> None:
        """Print the request's metrics together with those of one class, and a further line for each further class.

        The request id is a property: as a dimension, it would create a metric per request.
        """
        directives: list[dict[str, Any]] = [_directive(overall, [*self.dimensions])]
        fields: dict[str, Any] = {**self.dimensions, "request_id": request_id, **_values(overall)}
        for class_name, metrics in by_class.items():
            # Also aggregate over all classes and versions, for an alarm that does not depend on their names.
            directives.insert(0, _directive(metrics, [*self.dimensions, "class"], ["service"]))
            _print(directives, fields | {"class": class_name} | _values(metrics))
            directives, fields = [], {**self.dimensions}
        if directives:
            _print(directives, fields)


def _directive(metrics: Mapping[str, Metric], *dimensions: list[str]) -> dict[str, Any]:
    definitions = [{"Name": name, "Unit": unit} for name, (unit, _) in metrics.items()]
    return {"Namespace": NAMESPACE, "Dimensions": dimensions, "Metrics": definitions}


def _values(metrics: Mapping[str, Metric]) -> dict[str, list[float]]:
    return {name: values for name, (_, values) in metrics.items()}


def _print(directives: list[dict[str, Any]], fields: Mapping[str, Any]) -> None:
    write_line({"_aws": {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": directives}, **fields})
