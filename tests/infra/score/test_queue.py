"""Test the messages that `make score` sends, and waiting for their results."""

import json

import pytest

from infra.score import __main__ as program
from infra.score import progress as score_progress
from infra.score import queue as score_queue
from infra.score.listing import S3Path
from tests.infra.score.scored_photos import command, put_photos, rows_of
from tests.support.faulty_cloud import RESULTS

pytestmark = pytest.mark.slow


class Clock:
    """Replace the module `time`: sleeping returns immediately and advances the clock."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(score_progress, "time", clock)
    monkeypatch.setattr(score_progress, "POLL_S", 5)
    monkeypatch.setattr(score_progress, "QUIET_S", 60)
    return clock


@pytest.mark.process
def test_wait_ends_with_the_last_result_of_the_job(faulty_aws, function_thread, out, encode, monkeypatch):
    """The wait ends with the job's last result, even if the queue holds other messages, such as S3's notifications."""
    monkeypatch.setattr(score_progress, "count_messages", lambda _sqs, queue: 5 if queue == faulty_aws.queue else 1)
    monkeypatch.setattr(score_progress, "QUIET_S", 3600)
    put_photos(faulty_aws, encode, 10)
    with function_thread():
        assert 0 == program.main(command(faulty_aws, out))
    assert 10 == len(rows_of(out))


def wait_for_a_missing_result(faulty_aws):
    folder = S3Path(RESULTS, "pets/missing/")
    score_progress.wait_for_results(
        faulty_aws.s3, faulty_aws.sqs, folder, 1, queue=faulty_aws.queue, dead_letters=faulty_aws.dead
    )


def test_wait_ends_if_all_missing_results_may_be_dead_letters(faulty_aws, clock, monkeypatch):
    """The wait ends if every missing result may be a dead letter, even if the queue is never empty."""
    monkeypatch.setattr(score_progress, "count_messages", lambda _sqs, queue: 5 if queue == faulty_aws.queue else 1)
    wait_for_a_missing_result(faulty_aws)
    assert 60 == clock.now


def test_wait_continues_while_the_queue_is_briefly_empty(faulty_aws, clock, monkeypatch):
    """The wait ends only after the queue was empty for `QUIET_S`, because SQS's counts are approximate."""
    counts = iter([3, 0, 0, 3, 0, 0] + [0] * 100)
    polls = []

    def count_messages(_sqs, queue):
        if queue != faulty_aws.queue:
            return 0
        polls.append(queue)
        return next(counts)

    monkeypatch.setattr(score_progress, "count_messages", count_messages)
    wait_for_a_missing_result(faulty_aws)
    assert (3 * 5 + 60, 3 + 60 / 5 + 1) == (clock.now, len(polls))  # the fourth poll sees the last message


class RefusingQueue:
    """Refuse the second message of the first request. moto never refuses a message."""

    def __init__(self, *, sender_fault):
        self.sender_fault, self.taken = sender_fault, []

    def send_message_batch(self, *, Entries, **_):  # noqa: N803  # as botocore names them
        refused = [entry for entry in Entries if entry["Id"] == "1" and not self.taken]
        self.taken += [entry["MessageBody"] for entry in Entries if entry not in refused]
        return {"Failed": [{"Id": each["Id"], "SenderFault": self.sender_fault, "Message": "why"} for each in refused]}


def test_enqueue_retries_refused_messages():
    """Only refused messages are sent again; a message with a sender fault fails at once."""
    keys = [str(number) for number in range(250)]
    queue = RefusingQueue(sender_fault=False)
    assert [keys] == list(score_queue.enqueue(queue, "queue", "job", "bucket", keys))
    assert sorted(keys) == sorted(key for body in queue.taken for key in json.loads(body)["keys"])
    with pytest.raises(score_queue.QueueRefused, match="queue refused 1 of 3 messages: why"):
        list(score_queue.enqueue(RefusingQueue(sender_fault=True), "queue", "job", "bucket", keys))


def test_queue_that_keeps_refusing_fails(monkeypatch):
    """After six attempts with growing pauses between them, the message is reported as refused."""

    class Queue:
        attempts = 0

        def send_message_batch(self, *, Entries, **_):  # noqa: N803  # as botocore names them
            self.attempts += 1
            return {"Failed": [{"Id": each["Id"], "SenderFault": False, "Message": "busy"} for each in Entries]}

    queue, clock = Queue(), Clock()
    monkeypatch.setattr(score_queue, "time", clock)
    with pytest.raises(score_queue.QueueRefused, match="queue refused 1 of 1 messages: busy"):
        score_queue.send_messages(queue, "queue", ["body"])
    assert (6, 0.2 + 0.4 + 0.8 + 1.6 + 3.2) == (queue.attempts, pytest.approx(clock.now))


def test_pack_requests_keeps_the_limits_of_sqs():
    """A request holds ten messages or about a mebibyte, whichever comes first."""
    sizes = [
        [len(text) for _, text in request]
        for request in score_queue.pack_requests(([], "x" * size) for size in (400_000, 400_000, 400_000, *([1] * 12)))
    ]
    assert [[400_000, 400_000], [400_000, *([1] * 9)], [1, 1, 1]] == sizes
