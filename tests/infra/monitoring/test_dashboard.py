"""Test the Grafana dashboard: its fields are valid, and its queries return data from a real Prometheus.

Grafana does not run here; its published SDK validates the schema.
"""

import json
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.infra.monitoring.conftest import MONITORING

GRAFANA = MONITORING / "grafana"
DASHBOARD = json.loads((GRAFANA / "dashboards/pet-classifier.json").read_text())
PANELS = DASHBOARD["panels"]
[JOB] = DASHBOARD["templating"]["list"]
RATE_INTERVAL = "5m"  # Grafana computes 1m; on a busy machine, the traffic may be older


def resolved(expression: str, job: str) -> str:
    return expression.replace("$job", job).replace("$__rate_interval", RATE_INTERVAL)


@pytest.fixture
def job(monitored) -> str:
    """Return the only value of the variable, as `label_values(metric, label)` queries it."""
    metric, label = JOB["query"]["query"].removeprefix("label_values(").removesuffix(")").split(", ")
    [value] = monitored.ask(f"label/{label}/values", **{"match[]": metric})
    return str(value)


@pytest.mark.process
@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_panel_queries_return_data(monitored, job, panel):
    """Each query returns data for the value of the variable."""
    assert panel["targets"]
    for target in panel["targets"]:
        assert monitored.query(resolved(target["expr"], job)), target["expr"]


@pytest.mark.process
def test_legends_are_labels_of_the_data(monitored, job):
    """Each label in {{}} has a value."""
    for target in (target for panel in PANELS for target in panel["targets"]):
        legend = target.get("legendFormat", "")
        if legend.startswith("{{"):
            label = legend[2:].split("}}")[0]
            assert all(series.get(label) for series in monitored.query(resolved(target["expr"], job))), legend


def test_dashboard_fields_are_valid():
    """A round trip through Grafana's SDK, which drops unknown fields, keeps all fields."""
    register_default_plugins()
    encoded = json.loads(JSONEncoder().encode(Dashboard.from_json(DASHBOARD)))
    assert [] == lost_fields(DASHBOARD, encoded)


def lost_fields(before: Any, after: Any, path: str = "") -> list[str]:
    """Return the paths in `before` that `after` lacks. `after` may have more fields, such as defaults."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [gone for key, value in before.items() for gone in lost_fields(value, after.get(key), f"{path}/{key}")]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [gone for i, value in enumerate(before) for gone in lost_fields(value, after[i], f"{path}/{i}")]
    return [] if before == after else [path]


def test_panels_do_not_overlap():
    """No two panels overlap, they span 24 columns, and each ID is unique."""
    cells = [
        (x, y)
        for position in (panel["gridPos"] for panel in PANELS)
        for x in range(position["x"], position["x"] + position["w"])
        for y in range(position["y"], position["y"] + position["h"])
    ]
    assert len(cells) == len(set(cells))
    assert 24 == 1 + max(x for x, _ in cells)
    assert len(PANELS) == len({panel["id"] for panel in PANELS})


def test_panels_use_the_provisioned_data_source():
    """Every panel uses the provisioned data source, whose interval equals Prometheus's scrape interval."""
    [source] = yaml.safe_load((GRAFANA / "datasources/prometheus.yml").read_text())["datasources"]
    assert {(source["type"], source["uid"])} == {
        (each["datasource"]["type"], each["datasource"]["uid"]) for each in [*PANELS, JOB]
    }
    scraping = yaml.safe_load((MONITORING / "prometheus.yml").read_text())["global"]
    assert scraping["scrape_interval"] == source["jsonData"]["timeInterval"]


def test_alerts_and_panels_agree_on_thresholds():
    """A stat turns red at the threshold of the alert in its description."""
    rules = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"][0]["rules"]
    expressions = {rule["alert"]: rule["expr"] for rule in rules}
    named = {panel["title"]: name for panel in PANELS for name in expressions if name in panel["description"]}
    assert {"Errors": "ErrorRatio", "p99": "SlowPredictions", "Unknown": "UnknownShare"} == named
    for panel in PANELS:
        if name := named.get(panel["title"]):
            red = panel["fieldConfig"]["defaults"]["thresholds"]["steps"][-1]["value"]
            assert f" > {red}" in expressions[name]
