"""Test the SAM template's batch and its queue, and the bucket for contributed photos."""

import pytest

from lambda_app.batch.handler import BatchSettings
from lambda_app.batch.objects import PREFETCHED
from lambda_app.contributions.contribution import PREFIX
from lambda_app.preprocess import MAX_PIXELS
from lambda_app.settings import Settings
from tests.support.sam import BATCH_ALARMS, as_list, default, properties, statements, translated

pytestmark = pytest.mark.sam


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
