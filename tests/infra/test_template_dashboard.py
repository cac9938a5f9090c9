"""Test the SAM template's dashboard and saved queries."""

import re

import pytest

from lambda_app.settings import Settings
from tests.infra.report.lines import REPORT_METRICS
from tests.support.sam import dashboard, properties, resources

pytestmark = pytest.mark.sam

# Fields of Lambda's log lines: https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html
PLATFORM_FIELDS = {"type", "record.metrics.initDurationMs"}


def dashboard_metrics(namespace: str) -> set[str]:
    """Return the names of the dashboard's metrics in a namespace."""
    widgets = [widget["properties"].get("metrics", []) for widget in dashboard()]
    named = [[metric for metric in metrics if len(metric) > 2] for metrics in widgets]  # the rest are expressions
    return {metric[1] for metrics in named if metrics and metrics[0][0] == namespace for metric in metrics}


def test_dashboard_shows_metrics_of_function(logged, cat_jpg, tmp_path) -> None:
    """The dashboard shows every metric of the function with its exact dimensions, for this stack only."""
    logged.settings = Settings(contributions=str(tmp_path))
    send_requests(logged, cat_jpg)
    contribution = {"request_id": "11111111-2222-3333-4444-555555555555", "label": "cat", "consent": "true"}
    logged.client.post("/feedback", data=contribution, files={"file": cat_jpg}).raise_for_status()
    directives = [each for line in logged.lines() for each in line.get("_aws", {}).get("CloudWatchMetrics", ())]
    written = {
        (",".join([found["Namespace"], *sorted(found["Dimensions"][0])]), metric["Name"])
        for found in directives
        for metric in found["Metrics"]
    }
    body, values = properties("Dashboard")["DashboardBody"]["Fn::Sub"]
    assert written == set(re.findall(r"SEARCH\('{(\S+)} MetricName=(\w+) \${Own}'", body))
    assert {"Fn::Sub": r"service=\"${AWS::StackName}\""} == values["Own"]
    assert {"Ref": "AWS::StackName"} == properties("Classifier")["Environment"]["Variables"]["SERVICE_NAME"]


def test_dashboard_shows_metrics_of_lambda() -> None:
    """The dashboard shows the metrics that the alarms watch, and the traffic."""
    urls = {"UrlRequestCount", "Url4xxCount", "Url5xxCount"}
    assert {"Invocations", "Errors", "Throttles", "Duration", "ConcurrentExecutions", *urls} == dashboard_metrics(
        "AWS/Lambda"
    )


def test_dashboard_shows_metrics_of_report() -> None:
    """The dashboard shows all metrics of the report, and the share of unknown photos with its limit."""
    assert dashboard_metrics("PetClassifier") == REPORT_METRICS | {"Predictions", "Unknown"}
    lines = re.findall(r'"label": "alarm", "value": \$\{(\w+)\}', str(properties("Dashboard")))
    assert ["MaxUnknownShare"] == lines


def test_saved_queries_use_logged_fields(logged, cat_jpg) -> None:
    """Each query is in the stack's folder, reads its log group, and uses only fields that lines have."""
    send_requests(logged, cat_jpg)
    fields = {name for line in logged.lines() for name in line} | PLATFORM_FIELDS
    for query in resources("Logs::QueryDefinition").values():
        assert [{"Ref": "Logs"}] == query["Properties"]["LogGroupNames"]
        assert query["Properties"]["Name"]["Fn::Sub"].startswith("${AWS::StackName}/")
        assert find_query_fields(query["Properties"]["QueryString"])
        assert set() == find_query_fields(query["Properties"]["QueryString"]) - fields


def find_query_fields(query: str) -> set[str]:
    words = re.findall(r'"[^"]*"|@?\b[a-z_][\w.]*\b(?!\()', query, re.IGNORECASE)
    aliases = set(re.findall(r" as (\w+)", query))
    keywords = {"and", "as", "asc", "by", "desc", "fields", "filter", "limit", "or", "sort", "stats"}
    return {word for word in words if word[0] not in '@"'} - keywords - aliases


def send_requests(logged, photo: bytes) -> None:
    """Write every kind of line: a prediction, its feedback, an error."""
    prediction = logged.client.post("/predict", content=photo, headers={"content-type": "image/jpeg"}).json()
    logged.client.post(
        "/feedback", json={"request_id": prediction["request_id"], "label": prediction["predicted_class"]}
    )
    logged.client.get("/nowhere")
