"""Test dead letters: their photos are sent again, each alone, and then given up."""

import json

import pytest

from infra.score import __main__ as program
from infra.score import progress as score_progress
from infra.score import queue as score_queue
from infra.score.dead_letters import GAVE_UP, Outcome, process_dead_letters
from infra.score.listing import S3Path
from lambda_app.batch.objects import read_message
from tests.infra.score.scored_photos import command, rows_of
from tests.support.faulty_cloud import PHOTOS, RESULTS, drop, dropping

pytestmark = pytest.mark.slow


@pytest.mark.process
def test_retry_sends_each_photo_alone_and_then_gives_it_up(
    faulty_aws, function_thread, out, encode, capsys, monkeypatch
):
    """A photo that also fails alone gets an error; the others of its message get predictions."""
    for number in range(3):
        faulty_aws.put(f"2026/{number}.jpg", encode("red"))
    with dropping(faulty_aws):
        assert 1 == program.main(command(faulty_aws, out))
    assert "score: 3 of 3 photos have neither a prediction nor an error in s3://" in capsys.readouterr().err

    def wait(*arguments, **names):
        drop(faulty_aws, "1.jpg")
        with function_thread():
            score_progress.wait_for_results(*arguments, **names)

    monkeypatch.setattr(program, "wait_for_results", wait)
    assert 1 == program.main(command(faulty_aws, out, "--retry"))
    monkeypatch.setattr(program, "wait_for_results", score_progress.wait_for_results)
    output = capsys.readouterr()
    assert "photos of dead letters: 3 sent again, each alone; 0 given up\n" in output.out
    assert "score: 1 of 3 photos have neither" in output.err
    assert 0 == program.main(command(faulty_aws, out, "--retry"))
    output = capsys.readouterr()
    assert "photos of dead letters: 0 sent again, each alone; 1 given up\n" in output.out
    assert f"3 photos in {out}; no prediction: {GAVE_UP} 1\n" in output.out
    assert [("2026/0.jpg", "cat"), ("2026/1.jpg", GAVE_UP), ("2026/2.jpg", "cat")] == rows_of(out)


RECORDS = [
    {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": PHOTOS}, "object": {"key": key, "versionId": "v"}}}
    for key in ("a+b.jpg", "c.jpg")
]


def test_dead_letters_of_notifications_are_retried(faulty_aws):
    """Each photo is sent again with its version, and given up with a row under the name of its message."""
    faulty_aws.sqs.send_message(QueueUrl=faulty_aws.dead, MessageBody=json.dumps({"Records": RECORDS}))
    results = S3Path(RESULTS, "pets/")
    assert [Outcome("notified", retried=2)] == list(
        process_dead_letters(faulty_aws.s3, faulty_aws.sqs, faulty_aws.queue, faulty_aws.dead, results)
    )
    alone = faulty_aws.messages(faulty_aws.queue)
    assert RECORDS == [record for body in alone for record in json.loads(body)["Records"]]
    for body in alone:
        faulty_aws.sqs.send_message(QueueUrl=faulty_aws.dead, MessageBody=body)
    assert [Outcome("notified", gave_up=1)] * 2 == list(
        process_dead_letters(faulty_aws.s3, faulty_aws.sqs, faulty_aws.queue, faulty_aws.dead, results)
    )
    names = {f"pets/notified/{GAVE_UP}/{read_message(body).digest()}.jsonl" for body in alone}
    assert names == faulty_aws.results().keys()
    lines = [
        (line["key"], line["version"], line["error_code"]) for each in faulty_aws.results().values() for line in each
    ]
    assert [("a b.jpg", "v", GAVE_UP), ("c.jpg", "v", GAVE_UP)] == sorted(lines)


def test_malformed_dead_letters_are_deleted(faulty_aws, function_thread, out, encode, capsys):
    """Malformed dead letters are counted and deleted, and valid ones after them are processed."""
    faulty_aws.put("2026/0.jpg", encode("red"))
    letters = ["no JSON", "[]", "{}", '{"Records": [{}]}', '{"job": "job", "bucket": "b"}']
    for body in (*letters, score_queue.format_message("job", PHOTOS, ["a.jpg"])):
        faulty_aws.sqs.send_message(QueueUrl=faulty_aws.dead, MessageBody=body)
    with function_thread():
        assert 0 == program.main(command(faulty_aws, out, "--retry"))
    output = capsys.readouterr().out
    assert f"{len(letters)} dead letters named no photo and were deleted\n" in output
    assert "photos of dead letters: 1 sent again" in output
    assert [] == faulty_aws.messages(faulty_aws.dead)
