"""Test the AWS commands of the workflows in moto: the check for a log group, and the notification of failures."""

import json

import boto3
import log_group
import notify
import pytest

from tests.support.sam import REGION

OTHER_REGION = "us-west-2"
GROUP = "/aws/lambda/pet-classifier-prod"


@pytest.fixture(autouse=True)
def _region(aws, monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)


def test_log_group_exists(capsys):
    """An existing log group prints exists=true."""
    boto3.client("logs").create_log_group(logGroupName=GROUP)
    log_group.main(GROUP)
    assert "exists=true\n" == capsys.readouterr().out


def test_log_group_is_missing_before_first_deployment(capsys):
    """A missing log group prints exists=false and is not an error."""
    log_group.main(GROUP)
    assert "exists=false\n" == capsys.readouterr().out


def test_notify_reaches_subscribers():
    """A subscriber gets the subject and the link to the run, even if the configured region is another one."""
    sns, sqs = boto3.client("sns", OTHER_REGION), boto3.client("sqs", OTHER_REGION)
    topic = sns.create_topic(Name="pet-classifier-alarms")["TopicArn"]
    queue = sqs.create_queue(QueueName="subscriber")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    notify.main(topic, "Monitor of owner/name failed", "https://github.com/owner/name/actions/runs/1")
    [message] = sqs.receive_message(QueueUrl=queue)["Messages"]
    notification = json.loads(message["Body"])
    assert ("Monitor of owner/name failed", "https://github.com/owner/name/actions/runs/1") == (
        notification["Subject"],
        notification["Message"],
    )


def test_notify_names_missing_topic():
    """The error for a missing topic names it and the right one."""
    topic = f"arn:aws:sns:{REGION}:123456789012:nowhere"
    with pytest.raises(SystemExit, match=r"nowhere'.*expected the bootstrap's AlarmTopic"):
        notify.main(topic, "subject", "message")
