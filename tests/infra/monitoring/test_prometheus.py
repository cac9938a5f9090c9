"""Test the Prometheus and Alertmanager configuration against the running app."""

import re

import pytest
import yaml

from tests.infra.monitoring.conftest import MONITORING, UNREACHABLE
from tests.support import ROOT
from tests.support.commands import run
from tests.support.waiting import wait_until

ALERTS_TEST = ROOT / "tests/infra/monitoring/alerts.yml"


@pytest.mark.process
@pytest.mark.parametrize(
    "command",
    [
        ["check", "config", MONITORING / "prometheus.yml"],
        ["check", "rules", "--lint=all", "--lint-fatal", MONITORING / "rules.yml", MONITORING / "alerts.yml"],
        ["test", "rules", ALERTS_TEST],
    ],
    ids=["configuration", "rules", "alerts"],
)
def test_promtool_accepts_files(promtool, command):
    """promtool accepts the files, and the alerts fire as the tests in alerts.yml expect."""
    assert "SUCCESS" in run(promtool, *command)


@pytest.mark.process
def test_amtool_accepts_configuration(amtool):
    """amtool accepts the configuration."""
    assert "SUCCESS" in run(amtool, "check-config", MONITORING / "alertmanager.yml")


def test_targets_match_compose():
    """Prometheus and Grafana address the services by the names and ports of infra/containers/compose.yaml."""
    services = yaml.safe_load((ROOT / "infra/containers/compose.yaml").read_text())["services"]
    addresses = {f"{name}:{port.split(':')[-1]}" for name, service in services.items() for port in service["ports"]}
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    sections = [*config["scrape_configs"], *config["alerting"]["alertmanagers"]]
    targets = {target for each in sections for static in each["static_configs"] for target in static["targets"]}
    [source] = yaml.safe_load((MONITORING / "grafana/datasources/prometheus.yml").read_text())["datasources"]
    assert {*targets, source["url"].removeprefix("http://")} <= addresses
    assert 2 == len(targets)


@pytest.mark.process
def test_app_is_a_target(monitored):
    """The app is up, and the unreachable instance is down."""
    up = {series["instance"]: series["value"] for series in monitored.query("up")}
    assert {monitored.target: 1, UNREACHABLE: 0} == up


@pytest.mark.process
def test_rules_are_loaded(monitored):
    """Prometheus loads the rules of both files without errors."""
    rules = [rule for group in monitored.ask("rules")["groups"] for rule in group["rules"]]
    assert {("recording", "ok"), ("alerting", "ok")} == {(rule["type"], rule["health"]) for rule in rules}


@pytest.mark.process
def test_recording_rules_have_data(monitored):
    """Each rule returns one series of the job."""
    rules = [rule for group in monitored.ask("rules", type="record")["groups"] for rule in group["rules"]]
    assert rules
    for rule in rules:
        [series] = monitored.query(rule["name"])
        assert "pet-classifier" == series["job"]
        assert 0 <= series["value"]


@pytest.mark.process
def test_alerts_fire(monitored):
    """ClassifierDown and ErrorRatio fire; the alerts on 500s, latency and unknown photos do not."""
    firing = {(series["alertname"], series.get("instance")) for series in monitored.query("ALERTS")}
    assert {("ClassifierDown", UNREACHABLE), ("ErrorRatio", None)} == firing


@pytest.mark.process
def test_operator_is_notified(monitored):
    """Alertmanager sends the summary and the description of each alert."""
    titles = {"FIRING: ClassifierDown", "FIRING: ErrorRatio"}
    wait_until(lambda: titles <= monitored.slack_channel.texts().keys())
    assert UNREACHABLE in monitored.slack_channel.texts()["FIRING: ClassifierDown"]


@pytest.mark.process
def test_promtool_series_exist(monitored):
    """The series in alerts.yml have the names and labels of the app's metrics."""
    test_series = re.findall(r"series: '(\w+)\{(.*)\}'", ALERTS_TEST.read_text())
    assert test_series
    for name, labels in test_series:
        real = monitored.query(name)
        assert real, name
        assert set(re.findall(r"(\w+)=", labels)) <= set(real[0]), name
