"""Test the SAM template's alarms."""

import pytest

from infra.report.publish import alarm_metrics
from tests.support.sam import BATCH_ALARMS, NO_VALUE, Template, dashboard, default, properties, resources

pytestmark = pytest.mark.sam

ALARMS = ["ErrorsAlarm", "DurationAlarm", "ThrottlesAlarm", "Url5xxAlarm"]
TRAFFIC_ALARMS = ["RequestsAlarm", "ConcurrencyAlarm"]
OTHER_ALARMS = [*TRAFFIC_ALARMS, "AccuracyAlarm", "DriftAlarm", "ReportAlarm", *BATCH_ALARMS, "UnknownAlarm"]
DAY_S = 86_400


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
    } == {name: {metric["MetricName"] for metric in watched_metrics(properties(name))} for name in ALARMS}
    for name in ALARMS:
        assert "notBreaching" == properties(name)["TreatMissingData"]
        assert [] == [metric for metric in watched_metrics(properties(name)) if metric["Dimensions"] != of_alias]


def watched_metrics(alarm: Template) -> list[Template]:
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


@pytest.mark.parametrize(("name", "metric"), [("BatchErrorsAlarm", "Errors"), ("BatchThrottlesAlarm", "Throttles")])
def test_batch_alarms_fire_at_once(name: str, metric: str) -> None:
    """One crash or one throttle fires an alarm within ten minutes."""
    alarm = properties(name)
    assert (metric, 1, 300, 1) == tuple(
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
    alarm = properties("UnknownAlarm")
    [expression, *metrics] = alarm["Metrics"]
    assert "IF(predictions >= 100, unknown / predictions, 0)" == expression["Expression"]
    found = {}
    for each in metrics:
        stat, metric = each["MetricStat"], each["MetricStat"]["Metric"]
        assert [{"Name": "service", "Value": {"Ref": "AWS::StackName"}}] == metric["Dimensions"]
        assert ("PetClassifier", 3600, False) == (metric["Namespace"], stat["Period"], each["ReturnData"])
        found[each["Id"]] = (metric["MetricName"], stat["Stat"])
    assert {"unknown": ("Unknown", "Sum"), "predictions": ("Predictions", "Sum")} == found
    assert ({"Ref": "MaxUnknownShare"}, "notBreaching") == (alarm["Threshold"], alarm["TreatMissingData"])


def test_every_alarm_notifies_and_is_on_dashboard() -> None:
    """Every alarm notifies AlarmTopicArn when it fires and when it ends, and is on the dashboard."""
    alarms = resources("CloudWatch::Alarm")
    assert {*ALARMS, *OTHER_ALARMS} == set(alarms)
    for alarm in alarms.values():
        actions = {"Fn::If": ["HasTopic", [{"Ref": "AlarmTopicArn"}], NO_VALUE]}
        assert actions == alarm["Properties"]["AlarmActions"] == alarm["Properties"]["OKActions"]
    [widget, of_batch] = [widget for widget in dashboard() if widget["type"] == "alarm"]
    always = [alarm["Properties"] for alarm in alarms.values() if "Condition" not in alarm]
    names = {alarm["AlarmName"]["Fn::Sub"].partition("}")[2] for alarm in always}
    assert {f"${{Alarm}}{name}" for name in names} == set(widget["properties"]["alarms"])
    batch = {properties(name)["AlarmName"]["Fn::Sub"].partition("}")[2] for name in BATCH_ALARMS}
    assert {f"${{Alarm}}{name}" for name in batch} == set(of_batch["properties"]["alarms"])
