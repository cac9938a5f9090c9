"""What the workflows ask of AWS beside deployments: is there a log, and who hears of a failure. In moto."""

import json

import boto3
import pytest

from infra.aws import log_group, notify
from tests.sam import REGION

GROUP = "/aws/lambda/pet-classifier-prod"


@pytest.fixture(autouse=True)
def _region(aws, monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)


def test_log_group_that_is_there(capsys):
    """Then there is something to report."""
    boto3.client("logs").create_log_group(logGroupName=GROUP)
    log_group.main(GROUP)
    assert "exists=true\n" == capsys.readouterr().out


def test_log_group_before_the_first_deployment(capsys):
    """That is no error."""
    log_group.main(GROUP)
    assert "exists=false\n" == capsys.readouterr().out


def test_notify_reaches_subscribers():
    """The subject names the workflow, the message links to the run."""
    sns, sqs = boto3.client("sns"), boto3.client("sqs")
    topic = sns.create_topic(Name="pet-classifier-alarms")["TopicArn"]
    queue = sqs.create_queue(QueueName="subscriber")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    notify.main(topic, "Monitor of owner/name failed", "https://github.com/owner/name/actions/runs/1")
    [message] = sqs.receive_message(QueueUrl=queue)["Messages"]
    told = json.loads(message["Body"])
    assert ("Monitor of owner/name failed", "https://github.com/owner/name/actions/runs/1") == (
        told["Subject"],
        told["Message"],
    )


def test_notify_names_a_topic_that_does_not_exist():
    """The error says where the right one is."""
    topic = f"arn:aws:sns:{REGION}:123456789012:nowhere"
    with pytest.raises(SystemExit, match=r"nowhere'.*expected the bootstrap's AlarmTopic"):
        notify.main(topic, "subject", "message")
