"""Test the SAM template: validity, access, logs, architecture and defaults."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest

from infra.emulator import runtime
from infra.emulator.event import predict_request, to_event, to_payload
from infra.emulator.invoke import invoke_url
from infra.emulator.runtime import lambda_runtime
from tests.support import ROOT
from tests.support.sam import (
    ALIAS_RESOURCE,
    IMAGE,
    NO_VALUE,
    REPOSITORY,
    SAM,
    default,
    properties,
    resources,
    run,
    statements,
    translated,
    version_id,
)
from tests.support.waiting import DEADLINE_S

pytestmark = pytest.mark.sam

CHECKOV = ROOT / ".venv-audit/bin/checkov"
# Prints the template as SAM CLI sends it, without the ids of the resources.
DUMP = """
from samcli.yamlhelper import yaml_dump, yaml_parse

print(yaml_dump(yaml_parse(open("template.yaml").read())))
"""


def test_template_passes_sam_validate() -> None:
    """`sam validate --lint` reports nothing."""
    assert f"{ROOT / 'template.yaml'} is a valid SAM Template" == run(SAM, "validate", "--lint").strip()


@pytest.mark.parametrize("template", ["infra/aws/bootstrap.yaml", "infra/aws/edge.yaml"])
def test_cloudformation_template_passes_cfn_lint(template) -> None:
    """cfn-lint reports nothing for the templates that SAM does not translate."""
    assert "" == run(SAM.with_name("cfn-lint"), template).strip()


@pytest.mark.skipif(not CHECKOV.exists(), reason="checkov is not installed in .venv-audit")
def test_templates_pass_checkov(tmp_path: Path) -> None:
    """Checkov reports nothing except the checks that .checkov.yaml skips.

    It ignores resources whose condition is false for the defaults, so it checks a copy with all buckets on.
    """
    text = (ROOT / "template.yaml").read_text()
    for name, value in {"PhotosBucket": "photos", "ResultsBucket": "results", "ContributionsBucket": "on"}.items():
        text, count = re.subn(rf'(\n  {name}:\n    Type: String\n    Default: )"\w*"', rf'\g<1>"{value}"', text)
        assert 1 == count
    (tmp_path / "template.yaml").write_text(text)
    files = (tmp_path / "template.yaml", "infra/aws/bootstrap.yaml", "infra/aws/edge.yaml")
    assert "Failed checks: 0, Skipped checks: 0" in run(CHECKOV, "--file", *files)


def test_url_is_private_by_default() -> None:
    """Only signed requests reach the URL, unless UrlAuthType is NONE."""
    assert {"Ref": "UrlAuthType"} == properties("ClassifierUrl")["AuthType"]
    assert "AWS_IAM" == default("UrlAuthType")


def test_url_belongs_to_alias() -> None:
    """The URL belongs to the alias, which points to the newest published version."""
    assert {"Ref": ALIAS_RESOURCE} == properties("ClassifierUrl")["TargetFunctionArn"]
    assert "live" == properties(ALIAS_RESOURCE)["Name"]
    assert {"Fn::GetAtt": [version_id(), "Version"]} == properties(ALIAS_RESOURCE)["FunctionVersion"]


def test_public_url_has_both_permissions() -> None:
    """Only with NONE, anyone may call the URL and invoke the function through it, and in no other way."""
    permissions = [found for found in resources("Lambda::Permission").values() if found["Condition"] != "HasEdge"]
    granted = {p["Properties"]["Action"]: p["Properties"] for p in permissions}
    anyone = {"FunctionName": {"Ref": ALIAS_RESOURCE}, "Principal": "*"}
    url, invoke = "lambda:InvokeFunctionUrl", "lambda:InvokeFunction"
    assert {
        url: anyone | {"Action": url, "FunctionUrlAuthType": "NONE"},
        invoke: anyone | {"Action": invoke, "InvokedViaFunctionUrl": True},
    } == granted
    assert {"IsPublic"} == {p["Condition"] for p in permissions}
    assert {"Fn::Equals": [{"Ref": "UrlAuthType"}, "NONE"]} == translated()["Conditions"]["IsPublic"]


def test_cors_allows_at_most_one_site() -> None:
    """CORS allows one origin to send photos and signatures and to read the request ID."""
    condition, cors, otherwise = properties("ClassifierUrl")["Cors"]["Fn::If"]
    assert ("HasCors", NO_VALUE, "") == (condition, otherwise, default("CorsOrigin"))
    assert [{"Ref": "CorsOrigin"}] == cors["AllowOrigins"]
    assert {"content-type", "authorization", "x-amz-date"} <= set(cors["AllowHeaders"])
    assert ["x-request-id"] == cors["ExposeHeaders"]


@pytest.mark.parametrize(
    ("parameter", "value", "allowed"),
    [
        ("CorsOrigin", "https://example.org", True),
        ("CorsOrigin", "*", False),
        ("PublicRoutes", "", True),
        ("PublicRoutes", "/metrics,/model/info,/prediction-log", True),
        ("PublicRoutes", "/metrics,", False),
        ("PublicRoutes", "/health", False),
        ("ImageUri", IMAGE, True),
        ("ImageUri", f"{REPOSITORY}:latest", False),
        ("Release", "2611211830", True),
        ("Release", "2026-11-21", False),
    ],
)
def test_parameters_reject_invalid_values(parameter, value, allowed) -> None:
    """Patterns reject wildcards as origin, tags instead of digests, and characters invalid in names."""
    assert allowed == bool(re.fullmatch(translated()["Parameters"][parameter]["AllowedPattern"], value))


HAS_EDGE = {"Fn::Not": [{"Fn::Equals": [{"Ref": "EdgeDistribution"}, ""]}]}


def test_public_function_requires_reserved_concurrency() -> None:
    """The rules reject UrlAuthType NONE, and a distribution of CloudFront, without ReservedConcurrency."""
    rule = translated()["Rules"]["PublicUrlIsCapped"]
    assert {"Fn::Or": [{"Fn::Equals": [{"Ref": "UrlAuthType"}, "NONE"]}, HAS_EDGE]} == rule["RuleCondition"]
    [capped] = rule["Assertions"]
    assert {"Fn::Not": [{"Fn::Equals": [{"Ref": "ReservedConcurrency"}, "-1"]}]} == capped["Assert"]


def test_edge_requires_private_url() -> None:
    """The rules reject a distribution of CloudFront in front of a URL that everyone can call directly."""
    rule = translated()["Rules"]["EdgeNeedsPrivateUrl"]
    assert HAS_EDGE == rule["RuleCondition"]
    assert [{"Fn::Equals": [{"Ref": "UrlAuthType"}, "AWS_IAM"]}] == [each["Assert"] for each in rule["Assertions"]]


def test_template_fits_deployment_without_bucket(tmp_path: Path) -> None:
    """The template that SAM CLI sends stays below 51,200 bytes, so that it needs no S3 bucket."""
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    packaged = tmp_path / "packaged.yaml"
    options = ("--template-file", "template.yaml", "--image-repository", REPOSITORY, "--output-template-file", packaged)
    run(SAM, "package", *options, **keys)
    assert 30_000 < packaged.stat().st_size < 51_000


def test_template_has_no_yaml_aliases() -> None:
    """CloudFormation does not support YAML anchors and aliases."""
    assert [] == re.findall(r"^[^#\n]*: [&*]\w+.*$", run(SAM.with_name("python"), "-c", DUMP), re.MULTILINE)


def test_logs_expire() -> None:
    """Each function writes JSON to its own log group, whose lines expire."""
    written = {name: properties(name)["LoggingConfig"] for name in ("Classifier", "Hook", "Batch")}
    groups = [{"Ref": "Logs"}, {"Ref": "HookLogs"}, {"Ref": "BatchLogs"}]
    assert groups == [config["LogGroup"] for config in written.values()]
    assert {"JSON"} == {config["LogFormat"] for config in written.values()}
    for group in resources("Logs::LogGroup").values():
        assert {"Ref": "LogRetentionDays"} == group["Properties"]["RetentionInDays"]
        assert "Delete" == group["DeletionPolicy"]
    assert 30 == default("LogRetentionDays")


def test_log_levels_keep_metrics() -> None:
    """No level above INFO can be chosen: Lambda treats metrics, lines without a level, as INFO and would drop them."""
    assert {"Ref": "LogLevel"} == properties("Classifier")["LoggingConfig"]["ApplicationLogLevel"]
    assert {"DEBUG", "INFO"} == set(translated()["Parameters"]["LogLevel"]["AllowedValues"])


@pytest.mark.rie
def test_json_log_format_keeps_lines_unchanged() -> None:
    """With Lambda's variables for LogFormat JSON, a request writes the same records, unwrapped."""
    names = log_field_names()
    assert names == log_field_names(AWS_LAMBDA_LOG_FORMAT="JSON", AWS_LAMBDA_LOG_LEVEL="INFO")
    assert 2 == len(names)


def log_field_names(**environment: str) -> list[list[str]]:
    """Return the field names of each record that one prediction writes."""
    event = to_event(predict_request(ROOT / "data/samples/cat.jpg"), request_id="r", now=datetime.now(UTC))
    with lambda_runtime(env=environment, timeout_s=DEADLINE_S) as runtime:
        httpx2.post(invoke_url(runtime.endpoint), content=to_payload(event), timeout=DEADLINE_S, trust_env=False)
        assert runtime.log_line(lambda record: "ColdStart" in record, wait_s=DEADLINE_S)  # the last line of a request
        return [list(json.loads(line)) for line in runtime.lines if line.startswith("{")]


@pytest.mark.parametrize("name", ["Role", "HookRole", "DeploymentRole"])
def test_policies_have_no_wildcards(name) -> None:
    """The roles of function, hook and CodeDeploy have no wildcard, except for reading alarms."""
    granted = [s for s in statements(translated()["Resources"][name]) if "cloudwatch:DescribeAlarms" != s["Action"]]
    assert granted
    assert "*" not in json.dumps(granted)


def test_images_are_built_for_amd64() -> None:
    """`make image` and SAM CLI build for linux/amd64, which is not the default on Apple silicon."""
    assert "docker build --platform linux/amd64 " in run("make", "-n", "image")
    [architecture] = {
        name for function in ("Classifier", "Hook", "Batch") for name in properties(function)["Architectures"]
    }
    command = f"from samcli.lib.build import app_builder; print(app_builder.get_docker_platform({architecture!r}))"
    assert "linux/amd64" == run(SAM.with_name("python"), "-c", command).strip()


def test_paid_features_are_off_by_default() -> None:
    """SnapStart, provisioned concurrency and tracing are off by default."""
    assert ("None", 0, "PassThrough") == (default("SnapStart"), default("ProvisionedConcurrency"), default("Tracing"))
    assert {"ApplyOn": {"Ref": "SnapStart"}} == properties("Classifier")["SnapStart"]
    assert {"Mode": {"Ref": "Tracing"}} == properties("Classifier")["TracingConfig"]
    condition, config, otherwise = properties(ALIAS_RESOURCE)["ProvisionedConcurrencyConfig"]["Fn::If"]
    assert ("IsProvisioned", NO_VALUE) == (condition, otherwise)
    assert {"ProvisionedConcurrentExecutions": {"Ref": "ProvisionedConcurrency"}} == config


def test_emulator_has_the_default_memory_and_timeout() -> None:
    """The function of `make run` and `make demo` gets the memory and the timeout that a deployed one has by default."""
    assert (default("MemorySize"), default("Timeout")) == (runtime.MEMORY_MB, runtime.FUNCTION_TIMEOUT_S)


def test_concurrency_can_be_reserved() -> None:
    """Reserved concurrency can be set to any number and is unset by default."""
    reserved = properties("Classifier")["ReservedConcurrentExecutions"]["Fn::If"]
    assert ["IsReserved", {"Ref": "ReservedConcurrency"}, NO_VALUE] == reserved
    assert {"Fn::Not": [{"Fn::Equals": [{"Ref": "ReservedConcurrency"}, -1]}]} == translated()["Conditions"][
        "IsReserved"
    ]


def test_stack_has_outputs() -> None:
    """The stack has the outputs that workflows and operators need."""
    assert {
        "BatchEventSource",
        "Contributions",
        "Dashboard",
        "FunctionName",
        "LogGroup",
        "PhotosQueue",
        "Results",
        "Url",
    } == set(translated()["Outputs"])
