"""The SAM template: valid, private unless asked otherwise, moved to with care, and with no right that nobody uses."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from infra.local.event import predict_request, to_event, to_payload
from infra.local.invoke import invoke_url
from infra.local.runtime import lambda_runtime
from tests.sam import ALIAS, IMAGE, REPOSITORY, ROOT, SAM, Template, as_list, run, statements, translated

pytestmark = pytest.mark.skipif(not SAM.exists(), reason="SAM CLI is not installed in .venv-sam")

CHECKOV = ROOT / ".venv-audit/bin/checkov"
OTHER_IMAGE = f"{REPOSITORY}@sha256:{'b' * 64}"
ALARMS = ["ErrorsAlarm", "DurationAlarm", "ThrottlesAlarm", "Url5xxAlarm"]
NO_VALUE = {"Ref": "AWS::NoValue"}


def resources(kind: str) -> dict[str, Template]:
    return {name: found for name, found in translated()["Resources"].items() if found["Type"] == f"AWS::{kind}"}


def properties(name: str, **parameters: str) -> Template:
    found: Template = translated(**parameters)["Resources"][name]["Properties"]
    return found


def default(parameter: str) -> Any:
    return translated()["Parameters"][parameter]["Default"]


def version(**parameters: str) -> str:
    """The name of the published version: another name is another version."""
    [name] = [n for n, r in translated(**parameters)["Resources"].items() if r["Type"] == "AWS::Lambda::Version"]
    return str(name)


def test_lint() -> None:
    """`sam validate --lint` finds nothing to say."""
    assert f"{ROOT / 'template.yaml'} is a valid SAM Template" == run(SAM, "validate", "--lint").strip()


@pytest.mark.skipif(not CHECKOV.exists(), reason="checkov is not installed in .venv-audit")
def test_checkov() -> None:
    """Checkov finds nothing in either template but what .checkov.yaml sets aside."""
    assert "Failed checks: 0, Skipped checks: 0" in run(CHECKOV)


def test_what_checkov_is_told_to_ignore_has_a_reason() -> None:
    """Beside each check."""
    ignored = re.findall(r"^  - CKV.*$", (ROOT / ".checkov.yaml").read_text(), re.MULTILINE)
    assert ignored == [line for line in ignored if re.search(r"  # \w+", line)]
    assert ignored


def test_url_is_private() -> None:
    """Unless a deployer asks for NONE, only signed requests reach the URL."""
    assert {"Ref": "UrlAuthType"} == properties("ClassifierUrl")["AuthType"]
    assert "AWS_IAM" == default("UrlAuthType")


def test_url_is_of_the_alias() -> None:
    """Which points to the newest published version."""
    assert {"Ref": ALIAS} == properties("ClassifierUrl")["TargetFunctionArn"]
    assert "live" == properties(ALIAS)["Name"]
    assert {"Fn::GetAtt": [version(), "Version"]} == properties(ALIAS)["FunctionVersion"]


def test_public_url_permissions() -> None:
    """With NONE, and only then, anyone may call the URL, and invoke the function through it and no other way."""
    permissions = resources("Lambda::Permission").values()
    granted = {p["Properties"]["Action"]: p["Properties"] for p in permissions}
    anyone = {"FunctionName": {"Ref": ALIAS}, "Principal": "*"}
    url, invoke = "lambda:InvokeFunctionUrl", "lambda:InvokeFunction"
    assert {
        url: anyone | {"Action": url, "FunctionUrlAuthType": "NONE"},
        invoke: anyone | {"Action": invoke, "InvokedViaFunctionUrl": True},
    } == granted
    assert {"IsPublic"} == {p["Condition"] for p in permissions}
    assert {"Fn::Equals": [{"Ref": "UrlAuthType"}, "NONE"]} == translated()["Conditions"]["IsPublic"]


def test_cors_is_for_one_site_if_any() -> None:
    """Whose pages may send what a photo and a signature need, and read the request's id."""
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
        ("ImageUri", IMAGE, True),
        ("ImageUri", f"{REPOSITORY}:latest", False),
        ("Release", "2611211830", True),
        ("Release", "2026-11-21", False),
    ],
)
def test_values_of_parameters(parameter, value, allowed) -> None:
    """No foreign site, no tag for a digest, nothing that cannot be a part of a resource's name."""
    assert allowed == bool(re.fullmatch(translated()["Parameters"][parameter]["AllowedPattern"], value))


def test_another_image_publishes_another_version() -> None:
    """By its digest alone, the rest as it was."""
    assert version(ImageUri=IMAGE) == version()
    assert version(ImageUri=OTHER_IMAGE) != version()


def test_another_release_publishes_another_version() -> None:
    """For values of parameters alone do not."""
    assert version(MemorySize="2048") == version()
    assert 3 == len({version(), version(Release="one"), version(Release="two")})


def test_every_deployment_is_a_release_of_its_own() -> None:
    """A release stands in place of the digest, so `make deploy` never gives the one before."""
    assert version(ImageUri=OTHER_IMAGE, Release="one") == version(Release="one")
    command = run("make", "-n", "-o", ".venv-sam/.installed", "deploy", "ENV=dev", f"IMAGE_URI={IMAGE}")
    assert re.search(r'Release="\d{10}"', command)


def test_function_and_hook_know_what_was_deployed() -> None:
    """`/model/info` shows it, and the hook expects it."""
    shown = {"IMAGE": {"Ref": "ImageUri"}, "COMMIT": {"Ref": "Commit"}}
    for function in ("Classifier", "Hook"):
        assert shown.items() <= properties(function)["Environment"]["Variables"].items()


def test_the_hook_tests_the_new_version() -> None:
    """The same image with another command; CodeDeploy calls it before the alias moves."""
    hook = properties("Hook")
    assert ({"ImageUri": {"Ref": "ImageUri"}}, ["infra.smoke.hook.handler"]) == (
        hook["Code"],
        hook["ImageConfig"]["Command"],
    )
    assert {"Ref": version()} == hook["Environment"]["Variables"]["NewVersion"]
    assert {
        "ApplicationName": {"Ref": "ServerlessDeploymentApplication"},
        "DeploymentGroupName": {"Ref": "ClassifierDeploymentGroup"},
        "BeforeAllowTrafficHook": {"Ref": "Hook"},
    } == translated()["Resources"][ALIAS]["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]


def test_traffic_moves_as_asked() -> None:
    """All at once by default, in steps where Canary says so."""
    speeds = [
        properties("ClassifierDeploymentGroup", **given)["DeploymentConfigName"]["Fn::Sub"]
        for given in ({}, {"Canary": "Canary10Percent5Minutes"})
    ]
    name = "CodeDeployDefault.Lambda${ConfigName}"
    assert [[name, {"ConfigName": "AllAtOnce"}], [name, {"ConfigName": "Canary10Percent5Minutes"}]] == speeds


def test_alarms_move_the_traffic_back() -> None:
    """Each of them while it moves in steps; all at once none, so that a repair reaches a function that rings."""
    group = properties("ClassifierDeploymentGroup")
    alarms = {"Enabled": True, "Alarms": [{"Name": {"Ref": alarm}} for alarm in ALARMS]}
    assert ["IsGradual", alarms, {}] == group["AlarmConfiguration"]["Fn::If"]
    rollback = group["AutoRollbackConfiguration"]
    assert rollback["Enabled"]
    assert {"DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM"} <= set(rollback["Events"])


def test_alarms_watch_the_alias() -> None:
    """Errors, slow answers, refused requests and 5xx, of both versions while traffic moves; no data is no alarm."""
    alarms = resources("CloudWatch::Alarm")
    assert ALARMS == list(alarms)
    watched = {alarm["Properties"]["MetricName"] for alarm in alarms.values()}
    assert {"Errors", "Duration", "Throttles", "Url5xxCount"} == watched
    for alarm in alarms.values():
        of_alias = {"Name": "Resource", "Value": {"Fn::Sub": "${Classifier}:live"}}
        assert [{"Name": "FunctionName", "Value": {"Ref": "Classifier"}}, of_alias] == alarm["Properties"]["Dimensions"]
        assert "notBreaching" == alarm["Properties"]["TreatMissingData"]
        assert ["HasTopic", [{"Ref": "AlarmTopicArn"}], NO_VALUE] == alarm["Properties"]["AlarmActions"]["Fn::If"]


def test_logs_expire() -> None:
    """Function and hook each write JSON to a log group of the stack, whose lines expire."""
    written = {name: properties(name)["LoggingConfig"] for name in ("Classifier", "Hook")}
    assert [{"Ref": "Logs"}, {"Ref": "HookLogs"}] == [config["LogGroup"] for config in written.values()]
    assert {"JSON"} == {config["LogFormat"] for config in written.values()}
    for group in resources("Logs::LogGroup").values():
        assert {"Ref": "LogRetentionDays"} == group["Properties"]["RetentionInDays"]
        assert "Delete" == group["DeletionPolicy"]
    assert 30 == default("LogRetentionDays")


def test_no_log_level_loses_the_metrics() -> None:
    """Lambda takes a line without a level for INFO, and metrics are such lines."""
    assert {"Ref": "LogLevel"} == properties("Classifier")["LoggingConfig"]["ApplicationLogLevel"]
    assert {"DEBUG", "INFO"} == set(translated()["Parameters"]["LogLevel"]["AllowedValues"])


@pytest.mark.rie
def test_lambdas_json_format_leaves_our_lines_as_they_are() -> None:
    """With what Lambda sets for LogFormat JSON, a request writes the same records, none wrapped in another."""
    text = records()
    assert text == records(AWS_LAMBDA_LOG_FORMAT="JSON", AWS_LAMBDA_LOG_LEVEL="INFO")
    assert 3 == len(text)


def records(**environment: str) -> list[list[str]]:
    """The names of the fields of each record that one photo leaves on the output."""
    event = to_event(predict_request(ROOT / "data/samples/cat.jpg"), request_id="r", now=datetime.now(UTC))
    with lambda_runtime(env=environment) as runtime:
        httpx2.post(invoke_url(runtime.endpoint), content=to_payload(event), timeout=30, trust_env=False)
        assert runtime.log_line(lambda record: "ColdStart" in record)  # the last
        return [list(json.loads(line)) for line in runtime.lines if line.startswith("{")]


@pytest.mark.parametrize("name", ["Role", "HookRole", "DeploymentRole"])
def test_least_privilege(name) -> None:
    """No role has a wildcard, but for what CloudWatch grants as a whole: to read alarms."""
    granted = [s for s in statements(translated()["Resources"][name]) if "cloudwatch:DescribeAlarms" != s["Action"]]
    assert granted
    assert "*" not in json.dumps(granted)


def test_rights() -> None:
    """Each role may do what its owner does, and nothing else."""
    actions = {
        name: [action for statement in statements(role) for action in as_list(statement["Action"])]
        for name, role in resources("IAM::Role").items()
    }
    logs = ["logs:CreateLogStream", "logs:PutLogEvents"]
    alias = ["lambda:GetAlias", "lambda:GetProvisionedConcurrencyConfig", "lambda:UpdateAlias"]
    assert {
        "Role": logs,
        "HookRole": [*logs, "lambda:InvokeFunction", "codedeploy:PutLifecycleEventHookExecutionStatus"],
        "DeploymentRole": [*alias, "lambda:InvokeFunction", "cloudwatch:DescribeAlarms"],
    } == actions


def test_the_hook_reaches_the_new_version_alone() -> None:
    """Neither another version nor the alias."""
    [invoke] = [s for s in statements(translated()["Resources"]["HookRole"]) if s["Action"] == "lambda:InvokeFunction"]
    assert {"Ref": version()} == invoke["Resource"]


def test_what_costs_money_is_off() -> None:
    """SnapStart, provisioned concurrency and traces are for their owner to turn on."""
    assert ("None", 0, "PassThrough") == (default("SnapStart"), default("ProvisionedConcurrency"), default("Tracing"))
    assert {"ApplyOn": {"Ref": "SnapStart"}} == properties("Classifier")["SnapStart"]
    assert {"Mode": {"Ref": "Tracing"}} == properties("Classifier")["TracingConfig"]
    condition, config, otherwise = properties(ALIAS)["ProvisionedConcurrencyConfig"]["Fn::If"]
    assert ("IsProvisioned", NO_VALUE) == (condition, otherwise)
    assert {"ProvisionedConcurrentExecutions": {"Ref": "ProvisionedConcurrency"}} == config


def test_one_whole_cpu() -> None:
    """The default memory is where Lambda gives one whole vCPU."""
    assert {"Ref": "MemorySize"} == properties("Classifier")["MemorySize"]
    assert 1769 == default("MemorySize")


def test_concurrency_can_be_capped() -> None:
    """By any number, also by none at all, which shuts the function off."""
    reserved = properties("Classifier")["ReservedConcurrentExecutions"]["Fn::If"]
    assert ["IsReserved", {"Ref": "ReservedConcurrency"}, NO_VALUE] == reserved
    assert {"Fn::Not": [{"Fn::Equals": [{"Ref": "ReservedConcurrency"}, -1]}]} == translated()["Conditions"][
        "IsReserved"
    ]


def test_the_dashboard_shows_what_the_function_writes(logged, cat_jpg) -> None:
    """Every metric of its records, by exactly their dimensions."""
    logged.client.post("/predict", content=cat_jpg, headers={"content-type": "image/jpeg"})
    directives = [line["_aws"]["CloudWatchMetrics"][0] for line in logged.lines() if "_aws" in line]
    written = {
        (",".join([found["Namespace"], *sorted(found["Dimensions"][0])]), metric["Name"])
        for found in directives
        for metric in found["Metrics"]
    }
    body = properties("Dashboard")["DashboardBody"]["Fn::Sub"]
    assert written == set(re.findall(r"SEARCH\('{(\S+)} MetricName=(\w+)'", body))


def test_the_dashboard_shows_what_lambda_measures() -> None:
    """What the alarms watch, and the traffic around it."""
    body = json.loads(properties("Dashboard")["DashboardBody"]["Fn::Sub"])
    shown = {metric[1] for widget in body["widgets"] for metric in widget["properties"]["metrics"] if len(metric) > 2}
    urls = {"UrlRequestCount", "Url4xxCount", "Url5xxCount"}
    assert {"Invocations", "Errors", "Throttles", "Duration", "ConcurrentExecutions", *urls} == shown


def test_outputs() -> None:
    """What the workflows and a person ask the stack for."""
    assert {
        "Alias",
        "Dashboard",
        "DeploymentApplication",
        "DeploymentGroup",
        "FunctionName",
        "Image",
        "LogGroup",
        "Url",
    } == set(translated()["Outputs"])
