"""Grafana's dashboard: fields that Grafana knows, and queries that return data from a real Prometheus.

Grafana itself does not run here: in place of it stands what its makers publish of its schema.
"""

import json
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.infra.monitoring.conftest import MONITORING

pytestmark = pytest.mark.process

GRAFANA = MONITORING / "grafana"
DASHBOARD = json.loads((GRAFANA / "dashboards/pet-classifier.json").read_text())
PANELS = DASHBOARD["panels"]
[JOB] = DASHBOARD["templating"]["list"]
RATE_INTERVAL = "1m"  # four scrapes, as Grafana works it out


def resolved(expression: str, job: str) -> str:
    return expression.replace("$job", job).replace("$__rate_interval", RATE_INTERVAL)


@pytest.fixture
def job(monitored) -> str:
    """The variable's only value; `label_values(metric, label)` asks Prometheus just this."""
    metric, label = JOB["query"]["query"].removeprefix("label_values(").removesuffix(")").split(", ")
    [value] = monitored.ask(f"label/{label}/values", **{"match[]": metric})
    return str(value)


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_every_query_returns_data(monitored, job, panel):
    """With the variable's value in its place."""
    assert panel["targets"]
    for target in panel["targets"]:
        assert monitored.query(resolved(target["expr"], job)), target["expr"]


def test_every_legend_is_a_label_of_the_data(monitored, job):
    """What stands in {{}} is not empty."""
    for target in (target for panel in PANELS for target in panel["targets"]):
        legend = target.get("legendFormat", "")
        if legend.startswith("{{"):
            label = legend[2:].split("}}")[0]
            assert all(series.get(label) for series in monitored.query(resolved(target["expr"], job))), legend


def test_grafana_knows_every_field():
    """Read and written again by Grafana's own SDK, which drops what it does not know, all of it is still there."""
    register_default_plugins()
    again = json.loads(JSONEncoder().encode(Dashboard.from_json(DASHBOARD)))
    assert [] == lost(DASHBOARD, again)


def lost(before: Any, after: Any, path: str = "") -> list[str]:
    """Where `after` lacks something of `before`; it may have more, which are defaults."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [gone for key, value in before.items() for gone in lost(value, after.get(key), f"{path}/{key}")]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [gone for i, value in enumerate(before) for gone in lost(value, after[i], f"{path}/{i}")]
    return [] if before == after else [path]


def test_a_misspelt_field_is_lost():
    """So that the test above can fail."""
    register_default_plugins()
    panel = PANELS[0] | {"targets": [{"refId": "A", "expr": "up", "legend": "x"}]}
    again = json.loads(JSONEncoder().encode(Dashboard.from_json(DASHBOARD | {"panels": [panel]})))
    assert ["/targets/0/legend"] == lost(panel, again["panels"][0])


def test_panels_do_not_overlap():
    """On a grid 24 wide, and each has an id of its own."""
    cells = [
        (x, y)
        for position in (panel["gridPos"] for panel in PANELS)
        for x in range(position["x"], position["x"] + position["w"])
        for y in range(position["y"], position["y"] + position["h"])
    ]
    assert len(cells) == len(set(cells))
    assert 24 == 1 + max(x for x, _ in cells)
    assert len(PANELS) == len({panel["id"] for panel in PANELS})


def test_provisioning_fits():
    """Every panel asks the data source that is provisioned, which asks Prometheus as often as there is news."""
    [source] = yaml.safe_load((GRAFANA / "datasources/prometheus.yml").read_text())["datasources"]
    assert {(source["type"], source["uid"])} == {
        (asked["datasource"]["type"], asked["datasource"]["uid"]) for asked in [*PANELS, JOB]
    }
    scraping = yaml.safe_load((MONITORING / "prometheus.yml").read_text())["global"]
    assert scraping["scrape_interval"] == source["jsonData"]["timeInterval"]


def test_alerts_and_panels_agree_on_thresholds():
    """A stat turns red where the alert of its description rings."""
    rules = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"][0]["rules"]
    expressions = {rule["alert"]: rule["expr"] for rule in rules}
    named = {panel["title"]: name for panel in PANELS for name in expressions if name in panel["description"]}
    assert {"Errors": "ErrorRatio", "p99": "SlowPredictions", "Unknown": "UnknownShare"} == named
    for panel in PANELS:
        if name := named.get(panel["title"]):
            red = panel["fieldConfig"]["defaults"]["thresholds"]["steps"][-1]["value"]
            assert f" > {red}" in expressions[name]
