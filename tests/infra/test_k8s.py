"""infra/containers/k8s as kubectl renders it: valid for Kubernetes, and consistent with the application and Compose.

ServiceMonitor, PrometheusRule and Application are other projects' types, whose schemas no package here carries: of
these the fields that matter are looked at one by one.
"""

import functools
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from lambda_app.settings import Settings
from tests.support.routes import ROUTES

ROOT = Path(__file__).parents[2]
K8S = ROOT / "infra/containers/k8s"
KUBECTL = ROOT / ".venv-audit/bin/kubectl"
DOCKERFILE = (ROOT / "Dockerfile.lambda").read_text()
SERVER = re.search(r"^FROM function AS server$(.*?)^FROM", DOCKERFILE, re.MULTILINE | re.DOTALL)[1]
COMPOSE = yaml.safe_load((ROOT / "infra/containers/compose.yaml").read_text())["services"]["classifier"]

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not KUBECTL.exists(), reason="kubectl is not installed in .venv-audit"),
]


@functools.cache
def rendered() -> str:
    return subprocess.run([KUBECTL, "kustomize", K8S], check=True, capture_output=True, text=True, timeout=600).stdout


def resource(kind: str) -> dict[str, Any]:
    [found] = [each for each in yaml.safe_load_all(rendered()) if each["kind"] == kind]
    return found


def pod() -> dict[str, Any]:
    return resource("Deployment")["spec"]["template"]["spec"]


def container() -> dict[str, Any]:
    [only] = pod()["containers"]
    return only


def option(name: str) -> int:
    """Of the image's uvicorn."""
    return int(re.search(rf'"--{name}", "(\d+)"', SERVER)[1])


def test_valid(tmp_path):
    """By the schemas of Kubernetes, which allow no unknown field; Prometheus Operator's types have none."""
    file = tmp_path / "rendered.yaml"
    file.write_text(rendered())
    check = [KUBECTL.with_name("kubernetes-validate"), "--strict", file]
    done = subprocess.run(check, check=False, capture_output=True, text=True, timeout=600)
    assert 0 == done.returncode, done.stdout
    assert {
        "namespace/pet-classifier",
        "service/classifier",
        "deployment/classifier",
        "poddisruptionbudget/classifier",
        "horizontalpodautoscaler/classifier",
        "networkpolicy/classifier",
        f"configmap/{resource('ConfigMap')['metadata']['name']}",
    } == set(re.findall(r"passed for resource (\S+)", done.stdout))
    assert ["PrometheusRule", "ServiceMonitor"] == sorted(re.findall(r"find schema for kind (\w+)", done.stdout))


def test_every_file_is_used():
    """Each is among the resources; Argo CD's is applied by itself."""
    kustomization = yaml.safe_load((K8S / "kustomization.yaml").read_text())
    files = {str(path.relative_to(K8S)) for path in K8S.rglob("*.yaml")}
    assert {"kustomization.yaml", "argocd/application.yaml", *kustomization["resources"]} == files


def test_everything_is_in_the_namespace():
    """Which admits nothing but what keeps to the restricted standard."""
    namespace = resource("Namespace")["metadata"]
    assert "restricted" == namespace["labels"]["pod-security.kubernetes.io/enforce"]
    others = [each["metadata"]["namespace"] for each in yaml.safe_load_all(rendered()) if each["kind"] != "Namespace"]
    assert {namespace["name"]} == set(others)


def test_restricted():
    """The pod security standard of that name, and more: nothing to write to, no token, as the image's own user."""
    uid, gid = map(int, re.search(r"^USER (\d+):(\d+)$", SERVER, re.MULTILINE).groups())
    assert {
        "runAsNonRoot": True,
        "runAsUser": uid,
        "runAsGroup": gid,
        "seccompProfile": {"type": "RuntimeDefault"},
    } == pod()["securityContext"]
    assert {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    } == container()["securityContext"]
    assert not pod()["automountServiceAccountToken"]


def test_image_and_command_are_those_of_compose():
    """The image that compose builds, and its own command."""
    assert COMPOSE["image"] == container()["image"]
    assert not {"command", "args"} & container().keys()
    assert not {"command", "entrypoint"} & COMPOSE.keys()


def test_limits_are_those_of_compose():
    """The same CPU and memory, measured once."""
    limits = COMPOSE["deploy"]["resources"]["limits"]
    assert {"cpu": limits["cpus"], "memory": f"{limits['memory']}i"} == container()["resources"]["limits"]


def test_environment():
    """Names and values are settings that the function takes; Python counts the CPUs of the limit."""
    [source] = container()["envFrom"]
    settings = resource("ConfigMap")
    assert settings["metadata"]["name"] == source["configMapRef"]["name"]
    assert settings["data"].keys() <= {name.upper() for name in Settings.model_fields}
    assert Settings.from_env(settings["data"])
    cpus = {"name": "PYTHON_CPU_COUNT", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}
    assert [cpus] == container()["env"]


def test_ports():
    """What listens is uvicorn's port; everything else names it."""
    assert [{"name": "http", "containerPort": option("port")}] == container()["ports"]
    assert [{"name": "http", "port": 80, "targetPort": "http"}] == resource("Service")["spec"]["ports"]
    [allowed] = resource("NetworkPolicy")["spec"]["ingress"]
    assert {"ports": [{"protocol": "TCP", "port": "http"}]} == allowed


@pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe", "livenessProbe"])
def test_probes(probe):
    """Each asks a route of the application."""
    get = container()[probe]["httpGet"]
    assert "http" == get["port"]
    assert f"GET {get['path']}" in ROUTES


def test_nothing_goes_out():
    """Not even the question where a name is."""
    policy = resource("NetworkPolicy")["spec"]
    assert (["Ingress", "Egress"], []) == (policy["policyTypes"], policy["egress"])


def test_everything_selects_the_same_pods():
    """Those of the deployment."""
    labels = resource("Deployment")["spec"]["template"]["metadata"]["labels"]
    [spread] = pod()["topologySpreadConstraints"]
    assert (
        labels
        == resource("Service")["spec"]["selector"]
        == resource("NetworkPolicy")["spec"]["podSelector"]["matchLabels"]
    )
    selectors = [resource(kind)["spec"]["selector"] for kind in ("Deployment", "PodDisruptionBudget", "ServiceMonitor")]
    assert [{"matchLabels": labels}] * 4 == [*selectors, spread["labelSelector"]]
    assert labels == resource("Service")["metadata"]["labels"]  # which is what a ServiceMonitor selects


def test_autoscaler():
    """Two to five pods of this deployment, by what the container requests."""
    deployment, autoscaler = resource("Deployment"), resource("HorizontalPodAutoscaler")["spec"]
    assert (2, 2, 5) == (deployment["spec"]["replicas"], autoscaler["minReplicas"], autoscaler["maxReplicas"])
    assert {
        "apiVersion": deployment["apiVersion"],
        "kind": "Deployment",
        "name": deployment["metadata"]["name"],
    } == autoscaler["scaleTargetRef"]
    assert container()["resources"]["requests"].keys() == {each["resource"]["name"] for each in autoscaler["metrics"]}


def test_there_is_time_to_stop():
    """Requests that are open when a pod has to go are answered before it is killed."""
    before = container()["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert before + option("timeout-graceful-shutdown") < pod()["terminationGracePeriodSeconds"]


def test_prometheus_knows_the_pods_as_it_knows_the_container():
    """By the same route and under the name of the same job, which rules and alerts ask for."""
    [scrape] = yaml.safe_load((ROOT / "infra/containers/monitoring/prometheus.yml").read_text())["scrape_configs"]
    monitor = resource("ServiceMonitor")["spec"]
    assert scrape["job_name"] == resource("Service")["metadata"]["labels"][monitor["jobLabel"]]
    [endpoint] = monitor["endpoints"]
    assert "http" == endpoint["port"]
    assert f"GET {endpoint['path']}" in ROUTES


def test_what_rings_is_what_rings_beside_the_container():
    """The groups of infra/containers/monitoring, all of them and word by word, each under a name of its own."""
    groups = [
        group
        for name in ("rules.yml", "alerts.yml")
        for group in yaml.safe_load((ROOT / "infra/containers/monitoring" / name).read_text())["groups"]
    ]
    rule = resource("PrometheusRule")
    assert "monitoring.coreos.com/v1" == rule["apiVersion"]
    assert {"groups": groups} == rule["spec"]
    assert len(groups) == len({group["name"] for group in groups})


def test_argo_cd():
    """It applies this folder into this namespace, and leaves the number of pods to the autoscaler."""
    application = yaml.safe_load((K8S / "argocd/application.yaml").read_text())
    assert ("argoproj.io/v1alpha1", "Application") == (application["apiVersion"], application["kind"])
    spec = application["spec"]
    assert {"repoURL", "targetRevision", "path"} == spec["source"].keys()
    assert K8S == ROOT / spec["source"]["path"]
    assert resource("Namespace")["metadata"]["name"] == spec["destination"]["namespace"]
    [ignored] = spec["ignoreDifferences"]
    assert ("Deployment", ["/spec/replicas"]) == (ignored["kind"], ignored["jsonPointers"])
