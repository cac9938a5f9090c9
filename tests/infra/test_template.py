"""Tests of the SAM template: validity, access, rollout, alarms, permissions and dashboard."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from infra.emulator import runtime
from infra.emulator.event import predict_request, to_event, to_payload
from infra.emulator.invoke import invoke_url
from infra.emulator.runtime import lambda_runtime
from infra.report.publish import alarm_metrics
from lambda_app.batch.handler import BatchSettings
from lambda_app.batch.objects import PREFETCHED
from lambda_app.contributions.contribution import PREFIX
from lambda_app.preprocess import MAX_PIXELS
from lambda_app.settings import Settings
from tests.support import ROOT
from tests.support.sam import ALIAS, IMAGE, OTHER_IMAGE, REPOSITORY, SAM, Template, as_list, run, statements, translated

pytestmark = [
    pytest.mark.sam,
]

CHECKOV = ROOT / ".venv-audit/bin/checkov"
ALARMS = ["ErrorsAlarm", "DurationAlarm", "ThrottlesAlarm", "Url5xxAlarm"]
TRAFFIC_ALARMS = ["RequestsAlarm", "ConcurrencyAlarm"]
BATCH_ALARMS = ["DeadLettersAlarm", "BatchErrorsAlarm", "BatchThrottlesAlarm", "BatchAgeAlarm"]
OTHER_ALARMS = [*TRAFFIC_ALARMS, "AccuracyAlarm", "DriftAlarm", "ReportAlarm", *BATCH_ALARMS, "UnknownAlarm"]
DAY_S = 86_400
# The metrics of `make report`, whose only dimension is the stack's name.
OF_LABELS = {"Accuracy", "AccuracyLowerBound", "AccuracyUpperBound", "AccuracyLimit"}
REPORTED = OF_LABELS | {"EstimatedAccuracy", "LabelCoverage", "DriftedSignals", "Reference"}
# Fields of Lambda's log lines: https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html
PLATFORM_FIELDS = {"type", "record.metrics.initDurationMs"}
# Prints the template as SAM CLI sends it, without the ids of the resources.
DUMP = """
from samcli.yamlhelper import yaml_dump, yaml_parse

print(yaml_dump(yaml_parse(open("template.yaml").read())))
"""
NO_VALUE = {"Ref": "AWS::NoValue"}


def resources(kind: str) -> dict[str, Template]:
    return {name: found for name, found in translated()["Resources"].items() if found["Type"] == f"AWS::{kind}"}


def properties(name: str, **parameters: str) -> Template:
    found: Template = translated(**parameters)["Resources"][name]["Properties"]
    return found


def dashboard() -> list[Template]:
    """Return the widgets, with STACK as the stack's name and 0 for every parameter."""
    body, values = properties("Dashboard")["DashboardBody"]["Fn::Sub"]
    condition, with_photos, otherwise = values["Batches"]["Fn::If"]
    assert ("HasPhotos", "") == (condition, otherwise)
    body = body.replace("${Batches}", with_photos["Fn::Sub"][0])
    body = re.sub(r"\$\{(Min|Max)\w+\}", "0", body.replace("${AWS::StackName}", "STACK"))
    widgets: list[Template] = json.loads(body)["widgets"]
    return widgets


def dashboard_metrics(namespace: str) -> set[str]:
    """Return the names of the dashboard's metrics in a namespace."""
    widgets = [widget["properties"].get("metrics", []) for widget in dashboard()]
    named = [[metric for metric in metrics if len(metric) > 2] for metrics in widgets]  # the rest are expressions
    return {metric[1] for metrics in named if metrics and metrics[0][0] == namespace for metric in metrics}


def default(parameter: str) -> Any:
    return translated()["Parameters"][parameter]["Default"]


def version(**parameters: str) -> str:
    """Return the logical ID of the published version; a new ID means a new version."""
    [name] = [n for n, r in translated(**parameters)["Resources"].items() if r["Type"] == "AWS::Lambda::Version"]
    return str(name)


def test_template_passes_sam_validate() -> None:
    """`sam validate --lint` reports nothing."""
    assert f"{ROOT / 'template.yaml'} is a valid SAM Template" == run(SAM, "validate", "--lint").strip()


@pytest.mark.skipif(not CHECKOV.exists(), reason="checkov is not installed in .venv-audit")
def test_templates_pass_checkov() -> None:
    """Checkov reports nothing except the checks that .checkov.yaml skips."""
    assert "Failed checks: 0, Skipped checks: 0" in run(CHECKOV)


def test_skipped_checkov_checks_have_reasons() -> None:
    """Each skipped check has a comment with its reason."""
    ignored = re.findall(r"^  - CKV.*$", (ROOT / ".checkov.yaml").read_text(), re.MULTILINE)
    assert ignored == [line for line in ignored if re.search(r"  # \w+", line)]
    assert ignored


def test_url_is_private_by_default() -> None:
    """Only signed requests reach the URL, unless UrlAuthType is NONE."""
    assert {"Ref": "UrlAuthType"} == properties("ClassifierUrl")["AuthType"]
    assert "AWS_IAM" == default("UrlAuthType")


def test_url_belongs_to_alias() -> None:
    """The URL belongs to the alias, which points to the newest published version."""
    assert {"Ref": ALIAS} == properties("ClassifierUrl")["TargetFunctionArn"]
    assert "live" == properties(ALIAS)["Name"]
    assert {"Fn::GetAtt": [version(), "Version"]} == properties(ALIAS)["FunctionVersion"]


def test_public_url_has_both_permissions() -> None:
    """Only with NONE, anyone may call the URL and invoke the function through it, and in no other way."""
    permissions = [found for found in resources("Lambda::Permission").values() if found["Condition"] != "HasEdge"]
    granted = {p["Properties"]["Action"]: p["Properties"] for p in permissions}
    anyone = {"FunctionName": {"Ref": ALIAS}, "Principal": "*"}
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


def test_new_image_publishes_version() -> None:
    """A new digest publishes a version, even if nothing else changes."""
    assert version(ImageUri=IMAGE) == version()
    assert version(ImageUri=OTHER_IMAGE) != version()


def test_new_release_publishes_version() -> None:
    """A new release publishes a version; changed parameters alone do not."""
    assert version(MemorySize="2048") == version()
    assert 3 == len({version(), version(Release="one"), version(Release="two")})


def test_make_deploy_passes_new_release() -> None:
    """`make deploy` passes the date and time as release, which replaces the digest."""
    assert version(ImageUri=OTHER_IMAGE, Release="one") == version(Release="one")
    command = run(
        "make", "-n", "-o", ".venv-sam/.installed", "deploy", "ENV=dev", f"IMAGE_URI={IMAGE}", f"COMMIT={'c' * 40}"
    )
    assert re.search(r'Release="\d{10}"', command)


def test_function_and_hook_get_image() -> None:
    """Function and hook get the image as a variable; the commit is part of the image."""
    for function in ("Classifier", "Hook"):
        variables = properties(function)["Environment"]["Variables"]
        assert ({"Ref": "ImageUri"}, False) == (variables["IMAGE"], "COMMIT" in variables)


def test_hook_tests_new_version() -> None:
    """The hook runs the same image with another command, before the alias moves."""
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


def test_traffic_shifts_as_configured() -> None:
    """Traffic shifts all at once by default, and gradually if Canary says so."""
    speeds = [
        properties("ClassifierDeploymentGroup", **given)["DeploymentConfigName"]["Fn::Sub"]
        for given in ({}, {"Canary": "Canary10Percent5Minutes"})
    ]
    name = "CodeDeployDefault.Lambda${ConfigName}"
    assert [[name, {"ConfigName": "AllAtOnce"}], [name, {"ConfigName": "Canary10Percent5Minutes"}]] == speeds


def test_alarms_roll_back_gradual_shift() -> None:
    """Alarms roll a gradual shift back; AllAtOnce ignores them, so that it can deploy a fix."""
    group = properties("ClassifierDeploymentGroup")
    alarms = {"Enabled": True, "Alarms": [{"Name": {"Ref": alarm}} for alarm in ALARMS]}
    assert ["IsGradual", alarms, {}] == group["AlarmConfiguration"]["Fn::If"]
    rollback = group["AutoRollbackConfiguration"]
    assert rollback["Enabled"]
    assert {"DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM"} <= set(rollback["Events"])


def test_alarms_watch_alias() -> None:
    """Alarms on errors, duration, throttles and 5xx watch both versions of a shift; missing data fires no alarm."""
    of_alias = [
        {"Name": "FunctionName", "Value": {"Ref": "Classifier"}},
        {"Name": "Resource", "Value": {"Fn::Sub": "${Classifier}:live"}},
    ]
    assert {
        "ErrorsAlarm": {"Errors"},
        "DurationAlarm": {"Duration"},
        "ThrottlesAlarm": {"Throttles"},
        "Url5xxAlarm": {"Url5xxCount"},
    } == {name: {metric["MetricName"] for metric in watched(properties(name))} for name in ALARMS}
    for name in ALARMS:
        assert "notBreaching" == properties(name)["TreatMissingData"]
        assert [] == [metric for metric in watched(properties(name)) if metric["Dimensions"] != of_alias]


def watched(alarm: Template) -> list[Template]:
    """Return the metrics of an alarm: one, or those of its expression."""
    stats = [metric["MetricStat"]["Metric"] for metric in alarm.get("Metrics", []) if "MetricStat" in metric]
    return stats or [alarm]


FAST, SLOW = {"p50": 12, "p99": 17}, {"p50": 1500, "p99": 5100}
ONE_SLOW = {"p50": 12, "p99": 5100}  # a photo that uses the decoding limit of 5 s


@pytest.mark.parametrize(
    ("minutes", "fires"),
    [
        ([{"requests": 1} | SLOW] * 3, False),  # too few requests
        ([{"requests": 50} | ONE_SLOW] * 3, False),
        ([{"requests": 999} | ONE_SLOW] * 3, False),
        ([{"requests": 50} | SLOW, {"requests": 50} | FAST, {"requests": 50} | FAST], False),
        ([{"requests": 50} | SLOW, {"requests": 50} | FAST, {"requests": 50} | SLOW], True),
        ([{"requests": 5000} | ONE_SLOW, {"requests": 5000} | ONE_SLOW, {"requests": 5000} | FAST], True),
    ],
)
def test_duration_alarm_ignores_a_few_slow_photos(minutes: list[dict[str, int]], *, fires: bool) -> None:
    """The alarm requires many slow requests in two of three minutes, so that a slow photo causes no rollback."""
    alarm = properties("DurationAlarm")
    expression = alarm["Metrics"][0]["Expression"].replace("IF(", "choose(")
    breaching = [
        minute
        for minute in minutes
        if eval(expression, {"choose": lambda test, yes, no: yes if test else no} | minute) >= alarm["Threshold"]
    ]
    assert (3, 2) == (alarm["EvaluationPeriods"], alarm["DatapointsToAlarm"])
    assert fires == (len(breaching) >= alarm["DatapointsToAlarm"])


@pytest.mark.parametrize(
    ("name", "metric", "threshold"),
    [("BatchErrorsAlarm", "Errors", 1), ("BatchThrottlesAlarm", "Throttles", 1)],
)
def test_batch_alarms_fire_at_once(name: str, metric: str, threshold: int) -> None:
    """One crash or one throttle fires an alarm within ten minutes."""
    alarm = properties(name)
    assert (metric, threshold, 300, 1) == tuple(
        alarm[key] for key in ("MetricName", "Threshold", "Period", "EvaluationPeriods")
    )
    assert [{"Name": "FunctionName", "Value": {"Ref": "Batch"}}] == alarm["Dimensions"]


def test_batch_age_alarm_fires_before_deletion() -> None:
    """The alarm fires after a day, 13 days before SQS deletes the message."""
    alarm, queue = properties("BatchAgeAlarm"), properties("PhotosQueue")
    assert "ApproximateAgeOfOldestMessage" == alarm["MetricName"]
    assert (DAY_S, 14 * DAY_S) == (alarm["Threshold"], queue["MessageRetentionPeriod"])
    assert [{"Name": "QueueName", "Value": {"Fn::GetAtt": ["PhotosQueue", "QueueName"]}}] == alarm["Dimensions"]


def test_request_and_concurrency_alarms_have_limits() -> None:
    """Alarms watch requests and concurrency, with limits that an environment sets."""
    requests, concurrency = (properties(name) for name in TRAFFIC_ALARMS)
    assert ("UrlRequestCount", {"Ref": "MaxRequests"}) == (requests["MetricName"], requests["Threshold"])
    assert ("ConcurrentExecutions", {"Ref": "MaxConcurrency"}) == (concurrency["MetricName"], concurrency["Threshold"])


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
    """The template that SAM CLI sends, which has an ID per resource, is under 51,200 bytes with a reserve."""
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    packaged = tmp_path / "packaged.yaml"
    options = ("--template-file", "template.yaml", "--image-repository", REPOSITORY, "--output-template-file", packaged)
    run(SAM, "package", *options, **keys)
    assert 30_000 < packaged.stat().st_size < 51_000


def test_template_has_no_yaml_aliases() -> None:
    """CloudFormation does not support YAML anchors and aliases."""
    assert [] == re.findall(r"^[^#\n]*: [&*]\w+.*$", run(SAM.with_name("python"), "-c", DUMP), re.MULTILINE)


def alarm_expression(name: str) -> tuple[str, dict[str, tuple[str, str]]]:
    """Return an alarm's expression and its hourly metrics, all of this stack, by their names in the expression."""
    [expression, *metrics] = properties(name)["Metrics"]
    found = {}
    for each in metrics:
        stat, metric = each["MetricStat"], each["MetricStat"]["Metric"]
        assert [{"Name": "service", "Value": {"Ref": "AWS::StackName"}}] == metric["Dimensions"]
        assert ("PetClassifier", 3600, False) == (metric["Namespace"], stat["Period"], each["ReturnData"])
        found[each["Id"]] = (metric["MetricName"], stat["Stat"])
    return expression["Expression"], found


@pytest.mark.parametrize("name", ["AccuracyAlarm", "DriftAlarm"])
def test_report_metrics_fire_alarms(name: str) -> None:
    """An alarm has the state of the last report's metric, 1 or 0; missing data does not change its state."""
    assert name in alarm_metrics({"alarms": []})
    alarm = properties(name)
    assert (name, "Maximum", "GreaterThanOrEqualToThreshold", 1, 1, "ignore") == tuple(
        alarm[key]
        for key in (
            "MetricName",
            "Statistic",
            "ComparisonOperator",
            "Threshold",
            "EvaluationPeriods",
            "TreatMissingData",
        )
    )
    assert [{"Name": "service", "Value": {"Ref": "AWS::StackName"}}] == alarm["Dimensions"]


def test_report_alarm_fires_without_report() -> None:
    """The alarm fires after two days without a report that had a reference, if Monitored is true."""
    alarm = properties("ReportAlarm")
    assert ("Reference", "LessThanThreshold", 1) == tuple(
        alarm[name] for name in ("MetricName", "ComparisonOperator", "Threshold")
    )
    assert 2 * 24 * 3600 == alarm["Period"] * alarm["EvaluationPeriods"]
    assert {"Fn::If": ["IsMonitored", "breaching", "notBreaching"]} == alarm["TreatMissingData"]
    assert "false" == default("Monitored")


def test_unknown_alarm_uses_hourly_share() -> None:
    """The alarm uses the function's hourly metrics, summed over models and classes, if there are enough photos."""
    expected = {"unknown": ("Unknown", "Sum"), "predictions": ("Predictions", "Sum")}
    assert ("IF(predictions >= 100, unknown / predictions, 0)", expected) == alarm_expression("UnknownAlarm")
    alarm = properties("UnknownAlarm")
    assert ({"Ref": "MaxUnknownShare"}, "notBreaching") == (alarm["Threshold"], alarm["TreatMissingData"])


def test_every_alarm_notifies_and_is_on_dashboard() -> None:
    """Every alarm notifies AlarmTopicArn when it fires and when it ends, and is on the dashboard."""
    alarms = resources("CloudWatch::Alarm")
    assert {*ALARMS, *OTHER_ALARMS} == set(alarms)
    for alarm in alarms.values():
        heard = {"Fn::If": ["HasTopic", [{"Ref": "AlarmTopicArn"}], NO_VALUE]}
        assert heard == alarm["Properties"]["AlarmActions"] == alarm["Properties"]["OKActions"]
    [widget, of_batch] = [widget for widget in dashboard() if widget["type"] == "alarm"]
    always = [alarm["Properties"] for alarm in alarms.values() if "Condition" not in alarm]
    names = {alarm["AlarmName"]["Fn::Sub"].partition("}")[2] for alarm in always}
    assert {f"${{Alarm}}{name}" for name in names} == set(widget["properties"]["alarms"])
    batch = {properties(name)["AlarmName"]["Fn::Sub"].partition("}")[2] for name in BATCH_ALARMS}
    assert {f"${{Alarm}}{name}" for name in batch} == set(of_batch["properties"]["alarms"])


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
    """The log levels include INFO, which Lambda assigns to metrics, as lines without a level."""
    assert {"Ref": "LogLevel"} == properties("Classifier")["LoggingConfig"]["ApplicationLogLevel"]
    assert {"DEBUG", "INFO"} == set(translated()["Parameters"]["LogLevel"]["AllowedValues"])


@pytest.mark.rie
def test_json_log_format_keeps_lines_unchanged() -> None:
    """With Lambda's variables for LogFormat JSON, a request writes the same records, unwrapped."""
    text = records()
    assert text == records(AWS_LAMBDA_LOG_FORMAT="JSON", AWS_LAMBDA_LOG_LEVEL="INFO")
    assert 2 == len(text)


def records(**environment: str) -> list[list[str]]:
    """Return the field names of each record that one prediction writes."""
    event = to_event(predict_request(ROOT / "data/samples/cat.jpg"), request_id="r", now=datetime.now(UTC))
    with lambda_runtime(env=environment, timeout_s=600) as runtime:
        httpx2.post(invoke_url(runtime.endpoint), content=to_payload(event), timeout=300, trust_env=False)
        assert runtime.log_line(lambda record: "ColdStart" in record, wait_s=300)  # the last line of a request
        return [list(json.loads(line)) for line in runtime.lines if line.startswith("{")]


@pytest.mark.parametrize("name", ["Role", "HookRole", "DeploymentRole"])
def test_policies_have_no_wildcards(name) -> None:
    """No role has a wildcard, except for reading alarms."""
    granted = [s for s in statements(translated()["Resources"][name]) if "cloudwatch:DescribeAlarms" != s["Action"]]
    assert granted
    assert "*" not in json.dumps(granted)


def test_roles_have_expected_permissions() -> None:
    """Each role has exactly the permissions that it needs."""
    actions = {
        name: [action for statement in statements(role) for action in as_list(statement["Action"])]
        for name, role in resources("IAM::Role").items()
    }
    logs = ["logs:CreateLogStream", "logs:PutLogEvents"]
    alias = ["lambda:GetAlias", "lambda:GetProvisionedConcurrencyConfig", "lambda:UpdateAlias"]
    assert {
        "Role": logs,
        "HookRole": [*logs, "lambda:InvokeFunction", "codedeploy:PutLifecycleEventHookExecutionStatus"],
        "BatchRole": [
            *logs,
            *("sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"),
            *("s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", "s3:PutObject"),
        ],
        "DeploymentRole": [*alias, "lambda:InvokeFunction", "cloudwatch:DescribeAlarms"],
    } == actions


def test_hook_can_invoke_only_new_version() -> None:
    """The hook can invoke neither another version nor the alias."""
    [invoke] = [s for s in statements(translated()["Resources"]["HookRole"]) if s["Action"] == "lambda:InvokeFunction"]
    assert {"Ref": version()} == invoke["Resource"]


def test_batch_reads_photos_and_writes_results() -> None:
    """The batch can read the photos' bucket, write below the stack's name, and receive from its queue only."""
    resources = {
        as_list(statement["Action"])[0]: statement["Resource"]
        for statement in statements(translated()["Resources"]["BatchRole"])
    }
    photos = "arn:${AWS::Partition}:s3:::${PhotosBucket}"
    assert {
        "logs:CreateLogStream": {"Fn::GetAtt": ["BatchLogs", "Arn"]},
        "sqs:DeleteMessage": {"Fn::GetAtt": ["PhotosQueue", "Arn"]},
        "s3:GetObject": {"Fn::Sub": f"{photos}/*"},
        "s3:ListBucket": {"Fn::Sub": photos},
        "s3:PutObject": {"Fn::Sub": "arn:${AWS::Partition}:s3:::${ResultsBucket}/${AWS::StackName}/*"},
    } == resources


def test_batch_exists_only_with_bucket() -> None:
    """The batch and its resources exist only with PhotosBucket, and the rules require ResultsBucket."""
    template = translated()
    assert {"Fn::Not": [{"Fn::Equals": [{"Ref": "PhotosBucket"}, ""]}]} == template["Conditions"]["HasPhotos"]
    parts = {"BatchPhotos", "PhotosQueue", "PhotosQueuePolicy", "DeadLetters", *BATCH_ALARMS}
    parts |= {"Batch", "BatchLogs", "BatchRole"}
    assert parts == {n for n, found in template["Resources"].items() if found.get("Condition") == "HasPhotos"}
    assert {"BatchEventSource", "PhotosQueue", "Results"} == {
        n for n, o in template["Outputs"].items() if o.get("Condition") == "HasPhotos"
    }
    [rule] = template["Rules"]["ResultsHaveAPlace"]["Assertions"]
    assert {"Fn::Not": [{"Fn::Equals": [{"Ref": "ResultsBucket"}, ""]}]} == rule["Assert"]


def test_contributions_are_off_by_default() -> None:
    """The bucket, its permission and its output exist only if ContributionsBucket is on."""
    template = translated()
    assert "off" == default("ContributionsBucket")
    assert {"Fn::Equals": [{"Ref": "ContributionsBucket"}, "on"]} == template["Conditions"]["HasContributions"]
    conditional = {
        name
        for section in ("Resources", "Outputs")
        for name, found in template[section].items()
        if found.get("Condition") == "HasContributions"
    }
    assert {"Contributions", "ContributionsPolicy"} == conditional
    variables = properties("Classifier")["Environment"]["Variables"]
    assert {"Fn::If": ["HasContributions", {"Fn::Sub": "s3://${Contributions}"}, ""]} == variables["CONTRIBUTIONS"]
    assert {"Ref": "ContributionsPerHour"} == variables["CONTRIBUTIONS_PER_HOUR"]
    assert Settings().contributions_per_hour == default("ContributionsPerHour")


def test_contributions_are_private_and_expire() -> None:
    """The bucket is encrypted, blocks public access, keeps no versions, and deletes photos after a year by default."""
    bucket = translated()["Resources"]["Contributions"]
    settings = bucket["Properties"]
    [rule] = settings["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert {"SSEAlgorithm": "AES256"} == rule["ServerSideEncryptionByDefault"]
    assert [True] * 4 == list(settings["PublicAccessBlockConfiguration"].values())
    assert "VersioningConfiguration" not in settings
    [lifecycle] = settings["LifecycleConfiguration"]["Rules"]
    assert {"Status": "Enabled", "ExpirationInDays": {"Ref": "ContributionDays"}} == lifecycle
    assert 365 == default("ContributionDays")
    assert "Retain" == bucket["DeletionPolicy"] == bucket["UpdateReplacePolicy"]


def test_function_can_only_add_contributions() -> None:
    """The function can write objects below the prefix of its code, and can neither read nor delete any."""
    policy = translated()["Resources"]["ContributionsPolicy"]
    resource = {"Fn::Sub": f"${{Contributions.Arn}}/{PREFIX}/*"}
    assert [{"Effect": "Allow", "Action": "s3:PutObject", "Resource": resource}] == statements(policy)
    assert [{"Ref": "Role"}] == policy["Properties"]["Roles"]


def test_batch_is_updated_after_canary() -> None:
    """The batch's update waits for the alias, and so for hook and canary."""
    batch = translated()["Resources"]["Batch"]
    assert ALIAS in as_list(batch["DependsOn"])
    assert "CodeDeployLambdaAliasUpdate" in translated()["Resources"][ALIAS]["UpdatePolicy"]


def test_versions_have_commit_as_description() -> None:
    """A version's description is its commit, which `make back` reads."""
    assert {"Ref": "Commit"} == properties(version())["Description"]


def test_functions_are_x86_64() -> None:
    """The functions' architecture is the platform of `make image`."""
    assert [["x86_64"]] * 3 == [properties(name)["Architectures"] for name in ("Classifier", "Hook", "Batch")]


def test_images_are_built_for_amd64() -> None:
    """`make image` and SAM CLI build for linux/amd64, which is not the default on Apple silicon."""
    assert "docker build --platform linux/amd64 " in run("make", "-n", "image")
    [architecture] = properties("Classifier")["Architectures"]
    command = f"from samcli.lib.build import app_builder; print(app_builder.get_docker_platform({architecture!r}))"
    assert "linux/amd64" == run(SAM.with_name("python"), "-c", command).strip()


def test_queue_invokes_batch() -> None:
    """The queue invokes the same image with another command, with retries and limited concurrency."""
    batch, source = properties("Batch"), properties("BatchPhotos")
    assert ({"ImageUri": {"Ref": "ImageUri"}}, ["lambda_app.batch.handler.handler"]) == (
        batch["Code"],
        batch["ImageConfig"]["Command"],
    )
    assert {
        "BatchSize": 1,
        "EventSourceArn": {"Fn::GetAtt": ["PhotosQueue", "Arn"]},
        "FunctionName": {"Ref": "Batch"},
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "ScalingConfig": {"MaximumConcurrency": {"Ref": "BatchConcurrency"}},
    } == source


def test_failed_message_reaches_dead_letter_queue() -> None:
    """The visibility timeout is six times the function's timeout, and failed messages become dead letters."""
    queue, batch = properties("PhotosQueue"), properties("Batch")
    assert 6 * batch["Timeout"] == queue["VisibilityTimeout"]
    assert {"deadLetterTargetArn": {"Fn::GetAtt": ["DeadLetters", "Arn"]}, "maxReceiveCount": 5} == queue[
        "RedrivePolicy"
    ]
    days = [properties(name)["MessageRetentionPeriod"] / 86400 for name in ("PhotosQueue", "DeadLetters")]
    assert [14, 14] == days  # a moved message keeps its age


def test_batch_has_settings() -> None:
    """The batch has all required settings, and memory for the photos that it fetches ahead."""
    batch = properties("Batch")
    variables = batch["Environment"]["Variables"]
    needed = {name.upper() for name, field in BatchSettings.model_fields.items() if field.is_required()}
    assert needed <= variables.keys()
    assert {"Fn::Sub": "${AWS::StackName}/"} == variables["RESULTS_PREFIX"]
    ahead = PREFETCHED * variables["MAX_IMAGE_BYTES"] + 24 * MAX_PIXELS  # memory for one photo during decoding
    assert ahead < 0.75 * batch["MemorySize"] * 2**20


def test_only_photos_bucket_can_send_to_queue() -> None:
    """Only S3, for the photos' bucket of this account, can send to the queue."""
    [statement] = properties("PhotosQueuePolicy")["PolicyDocument"]["Statement"]
    bucket = {"Fn::Sub": "arn:${AWS::Partition}:s3:::${PhotosBucket}"}
    account = {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    assert {"ArnEquals": {"aws:SourceArn": bucket}, "StringEquals": account} == statement["Condition"]
    assert ("sqs:SendMessage", {"Service": "s3.amazonaws.com"}) == (statement["Action"], statement["Principal"])


def test_paid_features_are_off_by_default() -> None:
    """SnapStart, provisioned concurrency and tracing are off by default."""
    assert ("None", 0, "PassThrough") == (default("SnapStart"), default("ProvisionedConcurrency"), default("Tracing"))
    assert {"ApplyOn": {"Ref": "SnapStart"}} == properties("Classifier")["SnapStart"]
    assert {"Mode": {"Ref": "Tracing"}} == properties("Classifier")["TracingConfig"]
    condition, config, otherwise = properties(ALIAS)["ProvisionedConcurrencyConfig"]["Fn::If"]
    assert ("IsProvisioned", NO_VALUE) == (condition, otherwise)
    assert {"ProvisionedConcurrentExecutions": {"Ref": "ProvisionedConcurrency"}} == config


def test_default_memory_provides_one_vcpu() -> None:
    """The default memory is where Lambda provides one full vCPU."""
    assert {"Ref": "MemorySize"} == properties("Classifier")["MemorySize"]
    assert 1769 == default("MemorySize")


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
    assert dashboard_metrics("PetClassifier") == REPORTED | {"Predictions", "Unknown"}
    lines = re.findall(r'"label": "alarm", "value": \$\{(\w+)\}', str(properties("Dashboard")))
    assert ["MaxUnknownShare"] == lines


def test_saved_queries_use_logged_fields(logged, cat_jpg) -> None:
    """Each query is in the stack's folder, reads its log group, and uses only fields that lines have."""
    send_requests(logged, cat_jpg)
    fields = {name for line in logged.lines() for name in line} | PLATFORM_FIELDS
    for query in resources("Logs::QueryDefinition").values():
        assert [{"Ref": "Logs"}] == query["Properties"]["LogGroupNames"]
        assert query["Properties"]["Name"]["Fn::Sub"].startswith("${AWS::StackName}/")
        assert asked_for(query["Properties"]["QueryString"])
        assert set() == asked_for(query["Properties"]["QueryString"]) - fields


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ('filter message = "request" and status >= 400 | sort status desc', {"message", "status"}),
        ("stats pct(total_ms, 99) as p99 by bin(1h) as hour | sort hour desc", {"total_ms"}),
        ("fields @timestamp, coalesce(feedback_for, request_id) as id", {"feedback_for", "request_id"}),
    ],
)
def test_query_fields_are_found(query, expected) -> None:
    """The helper finds names that are neither commands nor functions nor defined in the query."""
    assert expected == asked_for(query)


def asked_for(query: str) -> set[str]:
    words = re.findall(r'"[^"]*"|@?\b[a-z_][\w.]*\b(?!\()', query, re.IGNORECASE)
    made = set(re.findall(r" as (\w+)", query))
    language = {"and", "as", "asc", "by", "desc", "fields", "filter", "limit", "or", "sort", "stats"}
    return {word for word in words if word[0] not in '@"'} - language - made


def send_requests(logged, photo: bytes) -> None:
    """Write every kind of line: a prediction, its feedback, an error."""
    prediction = logged.client.post("/predict", content=photo, headers={"content-type": "image/jpeg"}).json()
    logged.client.post(
        "/feedback", json={"request_id": prediction["request_id"], "label": prediction["predicted_class"]}
    )
    logged.client.get("/nowhere")


def test_stack_has_outputs() -> None:
    """The stack has the outputs that workflows and operators need."""
    assert {
        "Alias",
        "BatchEventSource",
        "Commit",
        "Contributions",
        "Dashboard",
        "DeploymentApplication",
        "DeploymentGroup",
        "FunctionName",
        "Image",
        "LogGroup",
        "PhotosQueue",
        "Results",
        "Url",
    } == set(translated()["Outputs"])
