"""What a Prometheus with our configuration sees of the running app, what rings, and who hears of it."""

import re
import subprocess

import pytest
import yaml

from tests.infra.monitoring.channel import wait_until
from tests.infra.monitoring.conftest import MONITORING, NOBODY, ROOT

pytestmark = pytest.mark.process

ALERTS_TEST = ROOT / "tests/infra/monitoring/alerts.yml"


@pytest.mark.parametrize(
    "command",
    [
        ["check", "config", MONITORING / "prometheus.yml"],
        ["check", "rules", "--lint=all", "--lint-fatal", MONITORING / "rules.yml", MONITORING / "alerts.yml"],
        ["test", "rules", ALERTS_TEST],
    ],
    ids=["configuration", "rules", "what rings when"],
)
def test_promtool(promtool, command):
    """Prometheus' own tool finds no fault with the files, and the alerts ring when alerts.yml beside this file says."""
    done = subprocess.run([promtool, *command], check=False, capture_output=True, text=True, timeout=600)
    assert 0 == done.returncode, done.stdout + done.stderr


def test_amtool(amtool):
    """Alertmanager's own tool finds no fault with its file."""
    command = [amtool, "check-config", MONITORING / "alertmanager.yml"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
    assert 0 == done.returncode, done.stdout + done.stderr


def test_names_are_those_of_compose():
    """Prometheus and Grafana address the services by the names and ports of infra/containers/compose.yaml."""
    services = yaml.safe_load((ROOT / "infra/containers/compose.yaml").read_text())["services"]
    addresses = {f"{name}:{port.split(':')[-1]}" for name, service in services.items() for port in service["ports"]}
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    asked = [*config["scrape_configs"], *config["alerting"]["alertmanagers"]]
    targets = {target for each in asked for static in each["static_configs"] for target in static["targets"]}
    [source] = yaml.safe_load((MONITORING / "grafana/datasources/prometheus.yml").read_text())["datasources"]
    assert {*targets, source["url"].removeprefix("http://")} <= addresses
    assert 2 == len(targets)


def test_the_app_is_a_target(monitored):
    """It is up, and the instance that is not there is not."""
    up = {series["instance"]: series["value"] for series in monitored.query("up")}
    assert {monitored.target: 1, NOBODY: 0} == up


def test_every_rule_is_loaded_and_works(monitored):
    """Those of both files, none of them with an error."""
    rules = [rule for group in monitored.ask("rules")["groups"] for rule in group["rules"]]
    assert {"ok"} == {rule["health"] for rule in rules}
    assert {"recording": 7, "alerting": 6} == {
        kind: sum(rule["type"] == kind for rule in rules) for kind in ("recording", "alerting")
    }


def test_every_recording_rule_has_data(monitored):
    """Of the job as a whole."""
    rules = [rule for group in monitored.ask("rules", type="record")["groups"] for rule in group["rules"]]
    assert rules
    for rule in rules:
        [series] = monitored.query(rule["name"])
        assert "pet-classifier" == series["job"]
        assert 0 <= series["value"]


def test_what_rings(monitored):
    """That an instance is gone, and that most requests fail; not what is well: 500s, latency, unknown photos."""
    firing = {(series["alertname"], series.get("instance")) for series in monitored.query("ALERTS")}
    assert {("ClassifierDown", NOBODY), ("ErrorRatio", None)} == firing


def test_the_operator_hears_of_what_rings(monitored):
    """Through Alertmanager, in words that say what it is and what to do."""
    rings = {"FIRING: ClassifierDown", "FIRING: ErrorRatio"}
    wait_until(lambda: rings <= monitored.operator.texts().keys())
    assert (
        f"{NOBODY} does not answer Prometheus. "
        "Its log says why it ended or never began; a setting that does not fit is named there.\n"
    ) == monitored.operator.texts()["FIRING: ClassifierDown"]


def test_what_rings_when_is_told_of_real_series(monitored):
    """The series that alerts.yml beside this file makes up have names and labels of the app's."""
    made_up = re.findall(r"series: '(\w+)\{(.*)\}'", ALERTS_TEST.read_text())
    assert made_up
    for name, labels in made_up:
        real = monitored.query(name)
        assert real, name
        assert set(re.findall(r"(\w+)=", labels)) <= set(real[0]), name
