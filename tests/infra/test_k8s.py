"""Test infra/containers/k8s as kubectl renders it: valid, and consistent with the application and Compose.

The schemas of ServiceMonitor, PrometheusRule and Application are not installed here, so the tests check their fields
one by one.
"""

import functools
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from lambda_app.settings import Settings
from tests.support import ROOT
from tests.support.commands import run
from tests.support.routes import ROUTES

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
    return run(KUBECTL, "kustomize", K8S)


def resource(kind: str) -> dict[str, Any]:
    [match] = [each for each in yaml.safe_load_all(rendered()) if each["kind"] == kind]
    return match


def pod() -> dict[str, Any]:
    return resource("Deployment")["spec"]["template"]["spec"]


def container() -> dict[str, Any]:
    [only] = pod()["containers"]
    return only


def uvicorn_option(name: str) -> int:
    """Return an option of uvicorn in the image."""
    return int(re.search(rf'"--{name}", "(\d+)"', SERVER)[1])


def test_manifests_are_valid(tmp_path):
    """The manifests match the strict schemas of Kubernetes, except for the types of Prometheus Operator."""
    file = tmp_path / "rendered.yaml"
    file.write_text(rendered())
    output = run(KUBECTL.with_name("kubernetes-validate"), "--strict", file)
    assert {
        "namespace/pet-classifier",
        "service/classifier",
        "deployment/classifier",
        "poddisruptionbudget/classifier",
        "horizontalpodautoscaler/classifier",
        "networkpolicy/classifier",
        f"configmap/{resource('ConfigMap')['metadata']['name']}",
    } == set(re.findall(r"passed for resource (\S+)", output))
    assert ["PrometheusRule", "ServiceMonitor"] == sorted(re.findall(r"find schema for kind (\w+)", output))


def test_all_files_are_resources():
    """Only the Argo CD application is applied separately."""
    kustomization = yaml.safe_load((K8S / "kustomization.yaml").read_text())
    files = {str(path.relative_to(K8S)) for path in K8S.rglob("*.yaml")}
    component = {"contributions/kustomization.yaml", "contributions/volume-claim.yaml"}
    assert {"kustomization.yaml", "argocd/application.yaml", *component, *kustomization["resources"]} == files


@pytest.fixture(scope="module")
def manifests_with_contributions(tmp_path_factory) -> Path:
    """Return the rendered manifests with the component that keeps contributed photos."""
    folder = tmp_path_factory.mktemp("manifests")
    shutil.copytree(K8S, folder / "k8s")
    with (folder / "k8s/kustomization.yaml").open("a") as file:
        file.write("components: [contributions]\n")
    run(KUBECTL, "kustomize", folder / "k8s", "--output", folder / "rendered.yaml")
    return folder / "rendered.yaml"


def test_contributions_are_kept_in_a_volume(manifests_with_contributions):
    """The component adds the setting, the volume and its group; the pod stays restricted, and the claim is shared."""
    found = {each["kind"]: each for each in yaml.safe_load_all(manifests_with_contributions.read_text())}
    spec = found["Deployment"]["spec"]["template"]["spec"]
    [only] = spec["containers"]
    assert resource("ConfigMap")["data"] | {"CONTRIBUTIONS": "/contributions"} == found["ConfigMap"]["data"]
    assert [{"name": "contributions", "mountPath": "/contributions"}] == only["volumeMounts"]
    claim = found["PersistentVolumeClaim"]
    assert [{"name": "contributions", "persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}}] == spec[
        "volumes"
    ]
    assert (["ReadWriteMany"], "pet-classifier") == (claim["spec"]["accessModes"], claim["metadata"]["namespace"])
    assert pod()["securityContext"] | {"fsGroup": pod()["securityContext"]["runAsGroup"]} == spec["securityContext"]
    assert container()["securityContext"] == only["securityContext"]
    assert COMPOSE["volumes"] == [f"contributions:{only['volumeMounts'][0]['mountPath']}"]


def test_manifests_with_contributions_are_valid(manifests_with_contributions):
    """The manifests with the component match the strict schemas of Kubernetes."""
    output = run(KUBECTL.with_name("kubernetes-validate"), "--strict", manifests_with_contributions)
    assert "persistentvolumeclaim/contributions" in output


def test_resources_are_in_the_namespace():
    """All resources are in the namespace, which enforces the restricted pod security standard."""
    namespace = resource("Namespace")["metadata"]
    assert "restricted" == namespace["labels"]["pod-security.kubernetes.io/enforce"]
    others = [each["metadata"]["namespace"] for each in yaml.safe_load_all(rendered()) if each["kind"] != "Namespace"]
    assert {namespace["name"]} == set(others)


def test_pod_is_restricted():
    """The pod meets the restricted standard, is read-only, has no token, and runs as the user of the image."""
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


def test_image_and_command_match_compose():
    """Kubernetes and Compose use the image that Compose builds, with its default command."""
    assert COMPOSE["image"] == container()["image"]
    assert not {"command", "args"} & container().keys()
    assert not {"command", "entrypoint"} & COMPOSE.keys()


def test_limits_match_compose():
    """Kubernetes and Compose have the same CPU and memory limits."""
    limits = COMPOSE["deploy"]["resources"]["limits"]
    assert {"cpu": limits["cpus"], "memory": f"{limits['memory']}i"} == container()["resources"]["limits"]


def test_environment_is_valid():
    """The environment has settings of the function, and a CPU count that equals the limit."""
    [source] = container()["envFrom"]
    settings = resource("ConfigMap")
    assert settings["metadata"]["name"] == source["configMapRef"]["name"]
    assert settings["data"].keys() <= {name.upper() for name in Settings.model_fields}
    assert Settings.from_env(settings["data"])
    cpus = {"name": "PYTHON_CPU_COUNT", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}
    assert [cpus] == container()["env"]


def test_ports_match_uvicorn():
    """The container port is that of uvicorn, and all other resources refer to it by name."""
    assert [{"name": "http", "containerPort": uvicorn_option("port")}] == container()["ports"]
    assert [{"name": "http", "port": 80, "targetPort": "http"}] == resource("Service")["spec"]["ports"]
    [allowed] = resource("NetworkPolicy")["spec"]["ingress"]
    assert {"ports": [{"protocol": "TCP", "port": "http"}]} == allowed


@pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe", "livenessProbe"])
def test_probes_use_routes_of_the_app(probe):
    """Each probe requests an existing route."""
    get = container()[probe]["httpGet"]
    assert "http" == get["port"]
    assert f"GET {get['path']}" in ROUTES


def test_egress_is_denied():
    """The network policy blocks all outgoing traffic, including DNS."""
    policy = resource("NetworkPolicy")["spec"]
    assert (["Ingress", "Egress"], []) == (policy["policyTypes"], policy["egress"])


def test_selectors_match_the_deployment():
    """All resources select the pods of the deployment."""
    labels = resource("Deployment")["spec"]["template"]["metadata"]["labels"]
    [spread] = pod()["topologySpreadConstraints"]
    assert (
        labels
        == resource("Service")["spec"]["selector"]
        == resource("NetworkPolicy")["spec"]["podSelector"]["matchLabels"]
    )
    selectors = [resource(kind)["spec"]["selector"] for kind in ("Deployment", "PodDisruptionBudget", "ServiceMonitor")]
    assert [{"matchLabels": labels}] * 4 == [*selectors, spread["labelSelector"]]
    assert labels == resource("Service")["metadata"]["labels"]  # a ServiceMonitor selects these


def test_autoscaler_targets_the_deployment():
    """The autoscaler scales from two to five pods by the requested CPU and memory."""
    deployment, autoscaler = resource("Deployment"), resource("HorizontalPodAutoscaler")["spec"]
    assert (2, 2, 5) == (deployment["spec"]["replicas"], autoscaler["minReplicas"], autoscaler["maxReplicas"])
    assert {
        "apiVersion": deployment["apiVersion"],
        "kind": "Deployment",
        "name": deployment["metadata"]["name"],
    } == autoscaler["scaleTargetRef"]
    assert container()["resources"]["requests"].keys() == {each["resource"]["name"] for each in autoscaler["metrics"]}


def test_grace_period_covers_the_shutdown():
    """The grace period is longer than the preStop pause and uvicorn's shutdown timeout together."""
    before = container()["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert before + uvicorn_option("timeout-graceful-shutdown") < pod()["terminationGracePeriodSeconds"]


def test_idle_connections_outlive_those_of_proxies():
    """AWS's load balancers and nginx keep idle connections for 60 s; the server must not close them first."""
    assert uvicorn_option("timeout-keep-alive") > 60


def test_service_monitor_matches_prometheus():
    """ServiceMonitor and prometheus.yml scrape the same route, under the job name that rules and alerts use."""
    [scrape] = yaml.safe_load((ROOT / "infra/containers/monitoring/prometheus.yml").read_text())["scrape_configs"]
    monitor = resource("ServiceMonitor")["spec"]
    assert scrape["job_name"] == resource("Service")["metadata"]["labels"][monitor["jobLabel"]]
    [endpoint] = monitor["endpoints"]
    assert "http" == endpoint["port"]
    assert f"GET {endpoint['path']}" in ROUTES


def test_prometheus_rule_matches_monitoring():
    """The PrometheusRule has the same groups as infra/containers/monitoring, with unique names."""
    groups = [
        group
        for name in ("rules.yml", "alerts.yml")
        for group in yaml.safe_load((ROOT / "infra/containers/monitoring" / name).read_text())["groups"]
    ]
    rule = resource("PrometheusRule")
    assert "monitoring.coreos.com/v1" == rule["apiVersion"]
    assert {"groups": groups} == rule["spec"]
    assert len(groups) == len({group["name"] for group in groups})


def test_argo_cd_applies_this_folder():
    """Argo CD syncs this folder into the namespace, and ignores the number of replicas."""
    application = yaml.safe_load((K8S / "argocd/application.yaml").read_text())
    assert ("argoproj.io/v1alpha1", "Application") == (application["apiVersion"], application["kind"])
    spec = application["spec"]
    assert {"repoURL", "targetRevision", "path"} == spec["source"].keys()
    assert K8S == ROOT / spec["source"]["path"]
    assert resource("Namespace")["metadata"]["name"] == spec["destination"]["namespace"]
    [ignored] = spec["ignoreDifferences"]
    assert ("Deployment", ["/spec/replicas"]) == (ignored["kind"], ignored["jsonPointers"])
