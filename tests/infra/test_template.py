"""The SAM template: valid, private unless asked otherwise, moved to with care, and with no right that nobody uses."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from infra.emulator.event import predict_request, to_event, to_payload
from infra.emulator.invoke import invoke_url
from infra.emulator.runtime import lambda_runtime
from infra.report.publish import alarm_metrics
from lambda_app.batch.handler import BatchSettings
from lambda_app.batch.objects import AHEAD
from lambda_app.preprocess import MAX_PIXELS
from tests.sam import ALIAS, IMAGE, OTHER_IMAGE, REPOSITORY, ROOT, SAM, Template, as_list, run, statements, translated

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not SAM.exists(), reason="SAM CLI is not installed in .venv-sam"),
]

CHECKOV = ROOT / ".venv-audit/bin/checkov"
ALARMS = ["ErrorsAlarm", "DurationAlarm", "ThrottlesAlarm", "Url5xxAlarm"]
TRAFFIC_ALARMS = ["RequestsAlarm", "ConcurrencyAlarm"]
BATCH_ALARMS = ["DeadLettersAlarm", "BatchErrorsAlarm", "BatchThrottlesAlarm", "BatchAgeAlarm"]
OTHER_ALARMS = [*TRAFFIC_ALARMS, "AccuracyAlarm", "DriftAlarm", "ReportAlarm", *BATCH_ALARMS, "UnknownAlarm"]
DAY_S = 86_400
# What `make report` publishes, with the stack's name as its only dimension.
OF_LABELS = {"Accuracy", "AccuracyLowerBound", "AccuracyUpperBound", "AccuracyLimit"}
REPORTED = OF_LABELS | {"EstimatedAccuracy", "LabelCoverage", "DriftedSignals", "Reference"}
# Of Lambda's own lines: https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html
PLATFORM_FIELDS = {"type", "record.metrics.initDurationMs"}
# The template as SAM CLI writes it before it sends it.
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
    """Its widgets; the stack is called STACK, and every parameter is 0."""
    body, values = properties("Dashboard")["DashboardBody"]["Fn::Sub"]
    condition, with_photos, otherwise = values["Batches"]["Fn::If"]
    assert ("HasPhotos", "") == (condition, otherwise)
    body = body.replace("${Batches}", with_photos["Fn::Sub"][0])
    body = re.sub(r"\$\{(Min|Max)\w+\}", "0", body.replace("${AWS::StackName}", "STACK"))
    widgets: list[Template] = json.loads(body)["widgets"]
    return widgets


def shown(namespace: str) -> set[str]:
    """The metrics that the dashboard's widgets name; each widget's are of one namespace."""
    widgets = [widget["properties"].get("metrics", []) for widget in dashboard()]
    named = [[metric for metric in metrics if len(metric) > 2] for metrics in widgets]  # the rest are expressions
    return {metric[1] for metrics in named if metrics and metrics[0][0] == namespace for metric in metrics}


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
    command = run(
        "make", "-n", "-o", ".venv-sam/.installed", "deploy", "ENV=dev", f"IMAGE_URI={IMAGE}", f"COMMIT={'c' * 40}"
    )
    assert re.search(r'Release="\d{10}"', command)


def test_function_and_hook_know_what_was_deployed() -> None:
    """`/model/info` shows the image, and the hook expects it; the commit is the image's own, and no parameter."""
    for function in ("Classifier", "Hook"):
        variables = properties(function)["Environment"]["Variables"]
        assert ({"Ref": "ImageUri"}, False) == (variables["IMAGE"], "COMMIT" in variables)


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
    """Return the metrics of an alarm, be it one or those of an expression."""
    stats = [metric["MetricStat"]["Metric"] for metric in alarm.get("Metrics", []) if "MetricStat" in metric]
    return stats or [alarm]


FAST, SLOW = {"p50": 12, "p99": 17}, {"p50": 1500, "p99": 5100}
ONE_SLOW = {"p50": 12, "p99": 5100}  # a photo that takes the 5 s that decoding may take


@pytest.mark.parametrize(
    ("minutes", "fires"),
    [
        ([{"requests": 1} | SLOW] * 3, False),  # too few requests to judge
        ([{"requests": 50} | ONE_SLOW] * 3, False),
        ([{"requests": 999} | ONE_SLOW] * 3, False),
        ([{"requests": 50} | SLOW, {"requests": 50} | FAST, {"requests": 50} | FAST], False),
        ([{"requests": 50} | SLOW, {"requests": 50} | FAST, {"requests": 50} | SLOW], True),
        ([{"requests": 5000} | ONE_SLOW, {"requests": 5000} | ONE_SLOW, {"requests": 5000} | FAST], True),
    ],
)
def test_duration_alarm_ignores_a_few_slow_photos(minutes: list[dict[str, int]], *, fires: bool) -> None:
    """In two of three minutes many requests have to be slow, or a legal photo would move a canary back."""
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
    """One crash, or one refusal, is known within ten minutes."""
    alarm = properties(name)
    assert (metric, threshold, 300, 1) == tuple(
        alarm[key] for key in ("MetricName", "Threshold", "Period", "EvaluationPeriods")
    )
    assert [{"Name": "FunctionName", "Value": {"Ref": "Batch"}}] == alarm["Dimensions"]


def test_a_waiting_message_is_known_long_before_it_is_deleted() -> None:
    """After a day, and thirteen days are left."""
    alarm, queue = properties("BatchAgeAlarm"), properties("PhotosQueue")
    assert "ApproximateAgeOfOldestMessage" == alarm["MetricName"]
    assert (DAY_S, 14 * DAY_S) == (alarm["Threshold"], queue["MessageRetentionPeriod"])
    assert [{"Name": "QueueName", "Value": {"Fn::GetAtt": ["PhotosQueue", "QueueName"]}}] == alarm["Dimensions"]


def test_traffic_is_watched() -> None:
    """Requests of the URL and concurrent requests, above limits that an environment chooses."""
    requests, concurrency = (properties(name) for name in TRAFFIC_ALARMS)
    assert ("UrlRequestCount", {"Ref": "MaxRequests"}) == (requests["MetricName"], requests["Threshold"])
    assert ("ConcurrentExecutions", {"Ref": "MaxConcurrency"}) == (concurrency["MetricName"], concurrency["Threshold"])


def test_a_public_url_needs_a_cap() -> None:
    """The rules refuse UrlAuthType NONE without ReservedConcurrency."""
    rule = translated()["Rules"]["PublicUrlIsCapped"]
    assert {"Fn::Equals": [{"Ref": "UrlAuthType"}, "NONE"]} == rule["RuleCondition"]
    [capped] = rule["Assertions"]
    assert {"Fn::Not": [{"Fn::Equals": [{"Ref": "ReservedConcurrency"}, "-1"]}]} == capped["Assert"]


def test_template_fits_a_deployment_without_a_bucket() -> None:
    """SAM CLI sends at most 51,200 bytes, of the template as it writes it; some are left for the next change."""
    assert len(run(SAM.with_name("python"), "-c", DUMP).encode()) < 50_000


def test_template_has_no_yaml_alias() -> None:
    """CloudFormation does not read YAML anchors and aliases."""
    assert [] == re.findall(r"^[^#\n]*: [&*]\w+.*$", run(SAM.with_name("python"), "-c", DUMP), re.MULTILINE)


def computed(name: str) -> tuple[str, dict[str, tuple[str, str]]]:
    """An alarm's expression, and by its names the metrics of this stack alone, an hour's, that it is computed of."""
    [expression, *metrics] = properties(name)["Metrics"]
    found = {}
    for each in metrics:
        stat, metric = each["MetricStat"], each["MetricStat"]["Metric"]
        assert [{"Name": "service", "Value": {"Ref": "AWS::StackName"}}] == metric["Dimensions"]
        assert ("PetClassifier", 3600, False) == (metric["Namespace"], stat["Period"], each["ReturnData"])
        found[each["Id"]] = (metric["MetricName"], stat["Stat"])
    return expression["Expression"], found


@pytest.mark.parametrize("name", ["AccuracyAlarm", "DriftAlarm"])
def test_an_alarm_of_the_report_rings_as_the_report_does(name: str) -> None:
    """By what every report publishes for it, 1 or 0; that stands until the next one, so a missing point is ignored."""
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


def test_the_report_alarm_rings_where_none_comes() -> None:
    """For two days, or none that could judge; only where somebody reports at all, which a new stack's owner says."""
    alarm = properties("ReportAlarm")
    assert ("Reference", "LessThanThreshold", 1) == tuple(
        alarm[name] for name in ("MetricName", "ComparisonOperator", "Threshold")
    )
    assert 2 * 24 * 3600 == alarm["Period"] * alarm["EvaluationPeriods"]
    assert {"Fn::If": ["IsMonitored", "breaching", "notBreaching"]} == alarm["TreatMissingData"]
    assert "false" == default("Monitored")


def test_the_unknown_alarm_is_hourly() -> None:
    """Of the function's own metrics, all models and classes together, where there are enough photos."""
    expected = {"unknown": ("Unknown", "Sum"), "predictions": ("Predictions", "Sum")}
    assert ("IF(predictions >= 100, unknown / predictions, 0)", expected) == computed("UnknownAlarm")
    alarm = properties("UnknownAlarm")
    assert ({"Ref": "MaxUnknownShare"}, "notBreaching") == (alarm["Threshold"], alarm["TreatMissingData"])


def test_every_alarm_is_heard() -> None:
    """When it begins to ring and when it stops, by whom AlarmTopicArn names; and the dashboard shows its state."""
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
    """Each function writes JSON to a log group of the stack, whose lines expire."""
    written = {name: properties(name)["LoggingConfig"] for name in ("Classifier", "Hook", "Batch")}
    groups = [{"Ref": "Logs"}, {"Ref": "HookLogs"}, {"Ref": "BatchLogs"}]
    assert groups == [config["LogGroup"] for config in written.values()]
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
    assert 2 == len(text)


def records(**environment: str) -> list[list[str]]:
    """The names of the fields of each record that one photo leaves on the output."""
    event = to_event(predict_request(ROOT / "data/samples/cat.jpg"), request_id="r", now=datetime.now(UTC))
    with lambda_runtime(env=environment) as runtime:
        httpx2.post(invoke_url(runtime.endpoint), content=to_payload(event), timeout=300, trust_env=False)
        assert runtime.log_line(lambda record: "ColdStart" in record, wait_s=300)  # the last
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
        "BatchRole": [
            *logs,
            *("sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"),
            *("s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", "s3:PutObject"),
        ],
        "DeploymentRole": [*alias, "lambda:InvokeFunction", "cloudwatch:DescribeAlarms"],
    } == actions


def test_the_hook_reaches_the_new_version_alone() -> None:
    """Neither another version nor the alias."""
    [invoke] = [s for s in statements(translated()["Resources"]["HookRole"]) if s["Action"] == "lambda:InvokeFunction"]
    assert {"Ref": version()} == invoke["Resource"]


def test_the_batch_reads_photos_and_writes_results() -> None:
    """Those of the one bucket, these under the stack's name; it has nothing else in S3, nor another queue."""
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


def test_the_batch_is_made_where_there_are_photos() -> None:
    """And only there: its function, role, log, queues and outputs; without a place for results the rules refuse it."""
    template = translated()
    assert {"Fn::Not": [{"Fn::Equals": [{"Ref": "PhotosBucket"}, ""]}]} == template["Conditions"]["HasPhotos"]
    parts = {"BatchPhotos", "PhotosQueue", "PhotosQueuePolicy", "DeadLetters", *BATCH_ALARMS}
    parts |= {"Batch", "BatchLogs", "BatchRole"}
    assert parts == {n for n, found in template["Resources"].items() if found.get("Condition") == "HasPhotos"}
    assert {"BatchEventSource", "PhotosQueue", "Results"} == {
        n for n, o in template["Outputs"].items() if o.get("Condition")
    }
    [rule] = template["Rules"]["ResultsHaveAPlace"]["Assertions"]
    assert {"Fn::Not": [{"Fn::Equals": [{"Ref": "ResultsBucket"}, ""]}]} == rule["Assert"]


def test_batch_gets_an_image_after_hook_and_canary() -> None:
    """Its update waits for the alias, whose update is the hook and the canary."""
    batch = translated()["Resources"]["Batch"]
    assert ALIAS in as_list(batch["DependsOn"])
    assert "CodeDeployLambdaAliasUpdate" in translated()["Resources"][ALIAS]["UpdatePolicy"]


def test_versions_are_described_by_their_commit() -> None:
    """`make back` finds it there."""
    assert {"Ref": "Commit"} == properties(version())["Description"]


def test_functions_run_where_the_image_was_built_for() -> None:
    """x86-64, which `make image` asks for on every machine."""
    assert [["x86_64"]] * 3 == [properties(name)["Architectures"] for name in ("Classifier", "Hook", "Batch")]


def test_images_are_built_for_lambda_on_every_machine() -> None:
    """`make image` and SAM CLI ask for linux/amd64, which Apple silicon would not build unasked."""
    assert "docker build --platform linux/amd64 " in run("make", "-n", "image")
    [architecture] = properties("Classifier")["Architectures"]
    command = f"from samcli.lib.build import app_builder; print(app_builder.get_docker_platform({architecture!r}))"
    assert "linux/amd64" == run(SAM.with_name("python"), "-c", command).strip()


def test_a_queue_calls_the_batch() -> None:
    """The same image with another command; messages that it reports as failed come again, so many at a time at most."""
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


def test_a_message_is_not_lost() -> None:
    """Invisible for longer than its function may run, by AWS's factor of six, and at last kept as a dead letter."""
    queue, batch = properties("PhotosQueue"), properties("Batch")
    assert 6 * batch["Timeout"] == queue["VisibilityTimeout"]
    assert {"deadLetterTargetArn": {"Fn::GetAtt": ["DeadLetters", "Arn"]}, "maxReceiveCount": 5} == queue[
        "RedrivePolicy"
    ]
    days = [properties(name)["MessageRetentionPeriod"] / 86400 for name in ("PhotosQueue", "DeadLetters")]
    assert [14, 14] == days  # its age goes on counting where it is moved


def test_the_batch_leaves_the_url_its_share() -> None:
    """A new account may have no more than ten requests at a time: the fewest that an event source takes."""
    assert 2 == default("BatchConcurrency")


def test_the_batch_has_its_settings() -> None:
    """All those without a default, and room in memory for the photos that it fetches ahead."""
    batch = properties("Batch")
    variables = batch["Environment"]["Variables"]
    needed = {name.upper() for name, field in BatchSettings.model_fields.items() if field.is_required()}
    assert needed <= variables.keys()
    assert {"Fn::Sub": "${AWS::StackName}/"} == variables["RESULTS_PREFIX"]
    ahead = AHEAD * variables["MAX_IMAGE_BYTES"] + 24 * MAX_PIXELS  # of a photo, while it is decoded
    assert ahead < 0.75 * batch["MemorySize"] * 2**20


def test_only_that_bucket_may_write_to_the_queue() -> None:
    """Of this account, through S3's notifications."""
    [statement] = properties("PhotosQueuePolicy")["PolicyDocument"]["Statement"]
    bucket = {"Fn::Sub": "arn:${AWS::Partition}:s3:::${PhotosBucket}"}
    account = {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    assert {"ArnEquals": {"aws:SourceArn": bucket}, "StringEquals": account} == statement["Condition"]
    assert ("sqs:SendMessage", {"Service": "s3.amazonaws.com"}) == (statement["Action"], statement["Principal"])


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
    """By any number; by none, unless one is given."""
    reserved = properties("Classifier")["ReservedConcurrentExecutions"]["Fn::If"]
    assert ["IsReserved", {"Ref": "ReservedConcurrency"}, NO_VALUE] == reserved
    assert {"Fn::Not": [{"Fn::Equals": [{"Ref": "ReservedConcurrency"}, -1]}]} == translated()["Conditions"][
        "IsReserved"
    ]


def test_the_dashboard_shows_what_the_function_writes(logged, cat_jpg) -> None:
    """Every metric of its records, by exactly their dimensions, and of this stack alone."""
    predict_and_tell(logged, cat_jpg)
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


def test_the_dashboard_shows_what_lambda_measures() -> None:
    """What the alarms watch, and the traffic around it."""
    urls = {"UrlRequestCount", "Url4xxCount", "Url5xxCount"}
    assert {"Invocations", "Errors", "Throttles", "Duration", "ConcurrentExecutions", *urls} == shown("AWS/Lambda")


def test_the_dashboard_shows_what_the_report_found() -> None:
    """All its figures, its alarms being shown as such; of the function's own, the share of unknown photos, and where
    its alarm begins to ring.
    """
    assert shown("PetClassifier") == REPORTED | {"Predictions", "Unknown"}
    lines = re.findall(r'"label": "alarm", "value": \$\{(\w+)\}', str(properties("Dashboard")))
    assert ["MaxUnknownShare"] == lines


def test_saved_queries_ask_for_what_is_logged(logged, cat_jpg) -> None:
    """Each in the stack's folder, about its log group, and with no field that no line has."""
    predict_and_tell(logged, cat_jpg)
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
def test_fields_that_a_query_asks_for(query, expected) -> None:
    """Names that are neither commands nor functions, and that the query did not make itself."""
    assert expected == asked_for(query)


def asked_for(query: str) -> set[str]:
    words = re.findall(r'"[^"]*"|@?\b[a-z_][\w.]*\b(?!\()', query, re.IGNORECASE)
    made = set(re.findall(r" as (\w+)", query))
    language = {"and", "as", "asc", "by", "desc", "fields", "filter", "limit", "or", "sort", "stats"}
    return {word for word in words if word[0] not in '@"'} - language - made


def predict_and_tell(logged, photo: bytes) -> None:
    """All kinds of lines: a prediction, its truth, an error."""
    answer = logged.client.post("/predict", content=photo, headers={"content-type": "image/jpeg"}).json()
    logged.client.post("/feedback", json={"request_id": answer["request_id"], "label": answer["predicted_class"]})
    logged.client.get("/nowhere")


def test_outputs() -> None:
    """What the workflows and a person ask the stack for."""
    assert {
        "Alias",
        "BatchEventSource",
        "Commit",
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
