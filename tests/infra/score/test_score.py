"""`make score` on 1,100 drawn photos against moto's S3 and SQS over HTTP, while everything that can go wrong does.

moto calls no function: `mapping.py` plays Lambda's event source mapping, in a process of its own where it is killed and
in a thread elsewhere.
"""

import csv
import functools
import gzip
import io
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError
from botocore.session import Session
from pyarrow import orc, parquet

from infra.score import __main__ as score_s3
from infra.score import queue as queueing
from infra.score import waiting
from infra.score.dead_letters import GAVE_UP, Handled, handle
from infra.score.gather import BODIES, gather
from infra.score.listing import Place
from infra.score.queue import PER_MESSAGE
from lambda_app.batch import handler as batch
from lambda_app.batch.objects import RETRIES, read_message
from tests import tiny_model
from tests.conftest import ROOT
from tests.infra.score.cloud import PHOTOS, REGION, RESULTS, cloud
from tests.infra.score.mapping import poll

pytestmark = pytest.mark.slow

COUNT = 1_100  # more than one page of S3's list, and more messages than one request to SQS
SOURCE = f"s3://{PHOTOS}/2026/"
EARLIER, LATER = (datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC) for second in (0, 1))  # S3 dates to the second


one_session = functools.cache(Session)  # each new one reads S3's and SQS' descriptions, which takes half a second


@pytest.fixture(scope="module")
def moto_cloud(moto):
    with cloud(moto) as made:
        yield made


@pytest.fixture
def aws(moto_cloud, monkeypatch):
    moto_cloud.empty()
    for name, value in moto_cloud.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(waiting, "POLL_S", 0.05)
    monkeypatch.setattr(waiting, "QUIET_S", 0.3)  # moto counts exactly: where it knows of no message, none comes
    monkeypatch.setattr("infra.score.dead_letters.WAIT_S", 0)
    monkeypatch.setattr(score_s3, "Session", one_session)
    return moto_cloud


@pytest.fixture
def out(tmp_path):
    return tmp_path / "predictions.parquet"


@pytest.fixture(scope="module")
def function(tmp_path_factory):
    """The settings of the function."""
    model = tiny_model.write(tmp_path_factory.mktemp("model") / "tiny.onnx")
    return {"RESULTS_BUCKET": RESULTS, "RESULTS_PREFIX": "pets/", "MODEL_PATH": str(model)}


@contextmanager
def process(aws, function):
    """A process of the function; its output ends with it."""
    worker = subprocess.Popen(
        [sys.executable, "-m", "tests.infra.score.mapping", aws.queue],
        cwd=ROOT,
        env=os.environ | function,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield worker
    finally:
        worker.kill()
        worker.communicate()


@pytest.fixture
def working(aws, function, tiny_classifier, monkeypatch):
    """A context in which the function works in a thread of this process."""
    settings = batch.BatchSettings.from_env(function | {"SERVICE_NAME": "score-test"})
    s3 = one_session().create_client("s3", REGION, config=batch.S3_CONFIG)
    scorer = batch.Scorer(tiny_classifier, settings, s3, Credentials("test", "test"))
    scorer.logger.registered_handler.setStream(io.StringIO())
    monkeypatch.setattr(batch, "scorer", lambda: scorer)

    @contextmanager
    def working():
        stop = threading.Event()
        thread = threading.Thread(target=poll, args=(aws.sqs, aws.queue, stop, lambda _: None))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    return working


def command(aws, out, *more, source=SOURCE):
    return [source, "--queue", aws.queue, "--results", f"s3://{RESULTS}/pets/", "--out", str(out), *more]


def expected(number):
    """What photo `number` comes to: a class, or a reason."""
    reasons = {40: "damaged_image", 41: "unsupported_image", 42: "no_file"}
    return reasons.get(number % 100) or ("cat", "dog")[number % 2]


def key(number):
    return f"2026/{number % 7}/pet {number}.jpg"


def put_photos(aws, encode, count):
    """Of ten shades of each class, some of them spoilt."""
    drawn = [encode((200 + shade, 0, 0) if shade % 2 == 0 else (0, 0, 200 + shade), (64, 64)) for shade in range(20)]
    spoilt = {"damaged_image": drawn[0][:300], "unsupported_image": b"text", "no_file": b""}
    for number in range(count):
        aws.put(key(number), spoilt.get(expected(number), drawn[number % 20]))
    aws.put("2026/folder/", b"")


def found(out):
    rows = parquet.read_table(out).to_pylist()
    return sorted((row["key"], row["predicted_class"] or row["error_code"]) for row in rows)


@pytest.mark.process
def test_each_photo_has_one_result_or_one_reason(aws, function, out, encode, capsys):
    """Though a process is killed amid its work, messages come twice, S3 fails, and photos are damaged."""
    put_photos(aws, encode, COUNT)
    aws.faults |= {("GET", "pet 7.jpg"): 2, ("GET", "pet 1002.jpg"): 2 * (RETRIES.total + 1) + 1, ("PUT", "jsonl"): 2}
    aws.photos_flow.clear()
    done = []
    scoring = threading.Thread(target=lambda: done.append(score_s3.main(command(aws, out))))
    with process(aws, function) as first:
        scoring.start()
        receipt = first.stdout.readline().strip()
        assert aws.photo_read.wait(300)
        first.send_signal(signal.SIGKILL)
        first.wait()
        assert first.stdout.read() == ""  # it had not come to an end
        assert {} == aws.results()
    aws.photos_flow.set()
    aws.make_visible(receipt)
    with process(aws, function) as second:
        scoring.join()
        second.kill()
        told = second.stdout.read()
    assert [0] == done, capsys.readouterr().err
    assert sorted((key(number), expected(number)) for number in range(COUNT)) == found(out)
    assert "failed" in told  # the message of pet 1002
    assert {PER_MESSAGE} == {len(lines) for lines in aws.results().values()}
    assert COUNT // PER_MESSAGE == len(aws.results())
    assert {0} == set(aws.faults.values())
    assert [] == aws.messages(aws.queue) + aws.messages(aws.dead)
    said = capsys.readouterr().out
    assert f"{COUNT} photos in {out}; no prediction: " in said
    assert f"damaged_image {COUNT // 100}" in said
    assert [out] == list(out.parent.iterdir())


@pytest.mark.process
def test_what_was_stopped_goes_on(aws, working, out, encode, monkeypatch):
    """Ctrl-C amid the naming: the second call names the rest, and none twice."""
    put_photos(aws, encode, 250)
    monkeypatch.setattr(queueing, "MESSAGES", 1)
    send = queueing.send

    def stopped(*arguments):
        monkeypatch.setattr(queueing, "send", interrupted)
        send(*arguments)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(queueing, "send", stopped)
    assert 130 == score_s3.main(command(aws, out))
    progress = json.loads(out.with_name(f"{out.name}.progress").read_text())
    assert (PER_MESSAGE, False) == (progress["photos"], progress["complete"])
    monkeypatch.setattr(queueing, "send", send)
    with working():
        assert 0 == score_s3.main(command(aws, out))
    assert sorted((key(number), expected(number)) for number in range(250)) == found(out)
    assert [50, 100, 100] == sorted(len(lines) for lines in aws.results().values())


@pytest.mark.process
def test_each_photo_of_a_dead_letter_is_tried_alone_and_then_given_up(aws, working, out, encode, capsys, monkeypatch):
    """The one that fails alone too becomes a reason; those beside it get results."""
    for number in range(3):
        aws.put(f"2026/{number}.jpg", encode("red"))
    with dropping(aws):
        assert 1 == score_s3.main(command(aws, out))
    assert "score: 3 of 3 photos have neither a result nor a reason in s3://" in capsys.readouterr().err

    def wait(*arguments, **names):
        drop(aws, "1.jpg")
        with working():
            waiting.wait(*arguments, **names)

    monkeypatch.setattr(score_s3, "wait", wait)
    assert 1 == score_s3.main(command(aws, out, "--retry"))
    monkeypatch.setattr(score_s3, "wait", waiting.wait)
    told = capsys.readouterr()
    assert "3 photos of dead letters are tried again, each alone; 0 are given up\n" in told.out
    assert "score: 1 of 3 photos have neither" in told.err
    assert 0 == score_s3.main(command(aws, out, "--retry"))
    told = capsys.readouterr()
    assert "0 photos of dead letters are tried again, each alone; 1 are given up\n" in told.out
    assert f"3 photos in {out}; no prediction: {GAVE_UP} 1\n" in told.out
    assert [("2026/0.jpg", "cat"), ("2026/1.jpg", GAVE_UP), ("2026/2.jpg", "cat")] == found(out)


def drop(aws, name=""):
    """As SQS does after the fifth failure: out of the queue, into the other; the first message that has the name."""
    found, others = None, []
    while not found:
        for message in aws.sqs.receive_message(QueueUrl=aws.queue, WaitTimeSeconds=1).get("Messages", []):
            if name in message["Body"]:
                found = message
            else:
                others.append(message["ReceiptHandle"])
    aws.sqs.send_message(QueueUrl=aws.dead, MessageBody=found["Body"])
    aws.sqs.delete_message(QueueUrl=aws.queue, ReceiptHandle=found["ReceiptHandle"])
    for receipt in others:
        aws.make_visible(receipt)


@contextmanager
def dropping(aws):
    """A context in which a message becomes a dead letter as soon as there is one."""
    thread = threading.Thread(target=drop, args=(aws,), daemon=True)
    thread.start()
    yield
    thread.join(60)
    assert not thread.is_alive(), "no message came"


RECORDS = [
    {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": PHOTOS}, "object": {"key": key, "versionId": "v"}}}
    for key in ("a+b.jpg", "c.jpg")
]


def test_notified_photos_are_tried_alone_too(aws):
    """As S3 named them, with their version; given up, each has the line that its photo would have begun."""
    aws.sqs.send_message(QueueUrl=aws.dead, MessageBody=json.dumps({"Records": RECORDS}))
    results = Place.parse(f"s3://{RESULTS}/pets/")
    assert [Handled("notified", retried=2)] == list(handle(aws.s3, aws.sqs, aws.queue, aws.dead, results))
    alone = aws.messages(aws.queue)
    assert RECORDS == [record for body in alone for record in json.loads(body)["Records"]]
    for body in alone:
        aws.sqs.send_message(QueueUrl=aws.dead, MessageBody=body)
    assert [Handled("notified", gave_up=1)] * 2 == list(handle(aws.s3, aws.sqs, aws.queue, aws.dead, results))
    names = {f"pets/notified/{GAVE_UP}/{read_message(body).digest()}.jsonl" for body in alone}
    assert names == aws.results().keys()
    lines = [(line["key"], line["version"], line["error_code"]) for each in aws.results().values() for line in each]
    assert [("a b.jpg", "v", GAVE_UP), ("c.jpg", "v", GAVE_UP)] == sorted(lines)


def test_dead_letters_of_nobodys_are_deleted(aws, out, capsys):
    """And counted, and those after them are dealt with."""
    letters = ["no JSON", "[]", "{}", '{"Records": [{}]}', '{"job": "job", "bucket": "b"}']
    for body in (*letters, queueing.body("job", PHOTOS, ["a.jpg"])):
        aws.sqs.send_message(QueueUrl=aws.dead, MessageBody=body)
    assert 0 == score_s3.main(command(aws, out, "--retry"))
    said = capsys.readouterr().out
    assert f"{len(letters)} dead letters named no photo and were deleted\n" in said
    assert "1 photos of dead letters are tried again" in said
    assert [] == aws.messages(aws.dead)


def test_what_was_given_up_yields_to_a_result(aws, out):
    """Which its message had written before it died, or wrote after all."""
    line = {"bucket": PHOTOS, "key": "a.jpg", "version": None, "etag": "e"}
    aws.put("pets/job/2026.01.01/x.jsonl", json.dumps(line).encode(), bucket=RESULTS, written=EARLIER)
    given_up = json.dumps(line | {"etag": None, "error_code": GAVE_UP}).encode()
    aws.put(f"pets/job/{GAVE_UP}/x.jsonl", given_up, bucket=RESULTS, written=LATER)
    assert {"": 1} == gather(aws.s3, Place(RESULTS, "pets/job/"), out)


class Clock:
    """In place of the module `time`: sleeping takes no time, and moves it on."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    found = Clock()
    monkeypatch.setattr(waiting, "time", found)
    monkeypatch.setattr(waiting, "POLL_S", 5)
    monkeypatch.setattr(waiting, "QUIET_S", 60)
    return found


@pytest.mark.process
def test_a_job_ends_though_the_queue_does_not(aws, working, out, encode, monkeypatch):
    """Where S3's notifications feed it as well: what counts are the job's own results."""
    monkeypatch.setattr(waiting, "left", lambda _sqs, queue: 5 if queue == aws.queue else 1)
    monkeypatch.setattr(waiting, "QUIET_S", 3600)
    put_photos(aws, encode, 10)
    with working():
        assert 0 == score_s3.main(command(aws, out))
    assert 10 == len(found(out))


def test_a_job_ends_where_all_that_is_missing_may_be_dead_letters(aws, clock, monkeypatch):
    """Though the queue is never empty."""
    monkeypatch.setattr(waiting, "left", lambda _sqs, queue: 5 if queue == aws.queue else 1)
    waiting.wait(aws.s3, aws.sqs, Place(RESULTS, "pets/nobodys/"), 1, queue=aws.queue, dead=aws.dead)
    assert 60 == clock.now


def test_a_pause_of_the_queue_is_not_its_end(aws, clock, monkeypatch):
    """SQS counts roughly: it is asked until it has said nothing for long enough."""
    counts = iter([3, 0, 0, 3, 0, 0] + [0] * 100)
    asked = []
    monkeypatch.setattr(waiting, "left", lambda _sqs, queue: queue == aws.queue and (asked.append(1), next(counts))[1])
    waiting.wait(aws.s3, aws.sqs, Place(RESULTS, "pets/nobodys/"), 1, queue=aws.queue, dead=aws.dead)
    assert (3 * 5 + 60, 3 + 60 / 5 + 1) == (clock.now, len(asked))  # the last message was seen at the fourth question


def test_results_of_notifications_are_gathered(aws, out, capsys):
    """Without a queue and without photos to name; a job that has none is an error."""
    line = {"bucket": PHOTOS, "key": "a.jpg", "version": None, "etag": "e", "predicted_class": "cat"}
    aws.put("pets/notified/m/x.jsonl", json.dumps(line).encode(), bucket=RESULTS)
    arguments = ["--results", f"s3://{RESULTS}/pets/", "--out", str(out), "--gather"]
    assert 0 == score_s3.main([*arguments, "notified"])
    assert [("a.jpg", "cat")] == found(out)
    assert 1 == score_s3.main([*arguments, "other"])
    assert capsys.readouterr().err.endswith(f"score: s3://{RESULTS}/pets/other/: expected results, found none\n")


def test_results_that_break_off_are_read_again(aws, out):
    """A few times, not for ever."""
    aws.put("pets/job/m/x.jsonl", b'{"bucket": "b", "key": "a", "version": null, "etag": "e"}', bucket=RESULTS)
    aws.cuts["x.jsonl"] = BODIES - 1
    assert 1 == gather(aws.s3, Place(RESULTS, "pets/job/"), out).total()
    aws.cuts["x.jsonl"] = BODIES
    with pytest.raises(BotoCoreError):
        gather(aws.s3, Place(RESULTS, "pets/job/"), out)


def csv_file(rows):
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(rows)
    return gzip.compress(text.getvalue().encode())


def arrow_file(writer):
    def file(rows):
        names = ["bucket", "key", "version_id", "is_latest", "is_delete_marker"]
        columns = [
            [value == "true" if name.startswith("is_") else value for value in column]
            for name, column in zip(names, zip(*rows, strict=True), strict=True)
        ]
        columns[1] = [name.replace("%20", " ") for name in columns[1]]  # in CSV alone names are encoded
        sink = io.BytesIO()
        writer(pa.table(dict(zip(names, columns, strict=True))), sink)
        return sink.getvalue()

    return file


@pytest.mark.parametrize(
    ("file_format", "written"),
    [
        ("CSV", csv_file),
        ("Parquet", arrow_file(parquet.write_table)),
        ("ORC", arrow_file(orc.write_table)),
    ],
)
def test_an_inventory_names_photos(aws, out, file_format, written):
    """The newest versions that are no deletions; names are decoded; results that share the bucket are none."""
    versions = [("a%20b.jpg", "true", "false"), ("a%20b.jpg", "false", "false"), ("gone.jpg", "true", "true")]
    versions += [("c.jpg", "true", "false"), ("pets/job/x.jsonl", "true", "false"), ("folder/", "true", "false")]
    rows = [[RESULTS, name, "v", latest, deleted] for name, latest, deleted in versions]
    aws.put("data/0", written(rows), bucket=RESULTS)
    manifest = {
        "sourceBucket": RESULTS,
        "destinationBucket": f"arn:aws:s3:::{RESULTS}",
        "fileFormat": file_format,
        "fileSchema": "Bucket, Key, VersionId, IsLatest, IsDeleteMarker",
        "files": [{"key": "data/0"}],
    }
    aws.put("inventory/manifest.json", json.dumps(manifest).encode(), bucket=RESULTS)
    with dropping(aws):
        assert 1 == score_s3.main(command(aws, out, source=f"s3://{RESULTS}/inventory/manifest.json"))
    [message] = aws.messages(aws.dead)
    assert (RESULTS, ["a b.jpg", "c.jpg"]) == (json.loads(message)["bucket"], json.loads(message)["keys"])


@pytest.mark.parametrize(
    "manifest",
    [
        "no JSON",
        "{}",
        '{"fileFormat": "Avro", "sourceBucket": "b", "destinationBucket": "b", "fileSchema": "Key", "files": []}',
        '{"fileFormat": "CSV", "sourceBucket": "b", "destinationBucket": "b", "files": []}',
    ],
)
def test_another_manifest_is_refused(aws, out, capsys, manifest):
    """By one line that names it and what is read."""
    aws.put("manifest.json", manifest.encode())
    assert 1 == score_s3.main(command(aws, out, source=f"s3://{PHOTOS}/manifest.json"))
    error = f"score: s3://{PHOTOS}/manifest.json: expected the manifest of an S3 Inventory as CSV, Parquet, ORC\n"
    assert error == capsys.readouterr().err


@pytest.mark.parametrize("file_format", ["CSV", "Parquet", "ORC"])
def test_a_broken_inventory_is_refused(aws, out, capsys, file_format):
    """By one line that names the file."""
    aws.put("data/0", b"broken", bucket=RESULTS)
    manifest = {
        "sourceBucket": PHOTOS,
        "destinationBucket": f"arn:aws:s3:::{RESULTS}",
        "fileFormat": file_format,
        "fileSchema": "Bucket, Key",
        "files": [{"key": "data/0"}],
    }
    aws.put("manifest.json", json.dumps(manifest).encode())
    assert 1 == score_s3.main(command(aws, out, source=f"s3://{PHOTOS}/manifest.json"))
    error = f"score: s3://{RESULTS}/data/0: expected a file of an S3 Inventory as {file_format}, with Bucket, Key\n"
    assert capsys.readouterr().err.endswith(error)


def test_of_several_lines_about_a_photo_the_last_counts(aws, out):
    """It was named twice, and its bytes had changed; photos of another bucket or version are others."""

    def line(etag, bucket=PHOTOS, version=None):
        return json.dumps({"bucket": bucket, "key": 'a, "etag": .jpg', "version": version, "etag": etag}) + "\n"

    old, new = line("old") + line("other", bucket="b"), line("new") + line("another", version="v")
    aws.put("job/1", old.encode(), bucket=RESULTS, written=EARLIER)
    aws.put("job/0", new.encode(), bucket=RESULTS, written=LATER)
    assert 3 == gather(aws.s3, Place(RESULTS, "job/"), out).total()
    assert {"new", "other", "another"} == {row["etag"] for row in parquet.read_table(out).to_pylist()}


class RefusingQueue:
    """Takes all but the second message at first; a stand-in, for moto refuses none."""

    def __init__(self, *, sender_fault):
        self.sender_fault, self.taken = sender_fault, []

    def send_message_batch(self, *, Entries, **_):  # noqa: N803  # as botocore names them
        refused = [entry for entry in Entries if entry["Id"] == "1" and not self.taken]
        self.taken += [entry["MessageBody"] for entry in Entries if entry not in refused]
        return {"Failed": [{"Id": each["Id"], "SenderFault": self.sender_fault, "Message": "why"} for each in refused]}


def test_messages_that_sqs_refuses_are_sent_again():
    """Those alone, and those that it will never take not at all."""
    keys = [str(number) for number in range(250)]
    queue = RefusingQueue(sender_fault=False)
    assert [keys] == list(queueing.enqueue(queue, "queue", "job", "bucket", keys))
    assert sorted(keys) == sorted(key for body in queue.taken for key in json.loads(body)["keys"])
    with pytest.raises(queueing.QueueRefused, match="queue refused 1 of 3 messages: why"):
        list(queueing.enqueue(RefusingQueue(sender_fault=True), "queue", "job", "bucket", keys))


def test_a_request_holds_what_sqs_takes():
    """Ten messages or a mebibyte, whichever comes first."""
    sizes = [
        [len(text) for _, text in request]
        for request in queueing.requests(([], "x" * size) for size in (400_000, 400_000, 400_000, *([1] * 12)))
    ]
    assert [[400_000, 400_000], [400_000, *([1] * 9)], [1, 1, 1]] == sizes


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["photos/"], "'photos/': expected s3://BUCKET/PREFIX"),
        ([SOURCE, "--gather", "notified"], "not allowed with argument"),
        ([SOURCE, "--out", "predictions.csv"], "'predictions.csv': expected FILE.parquet in a folder that exists"),
    ],
)
def test_bad_arguments(arguments, complaint, capsys):
    """Exit code 2, and what was expected."""
    with pytest.raises(SystemExit, match="2"):
        score_s3.main([*arguments, "--queue", "q", "--results", "s3://results/pets/"])
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("name", ["source", "queue", "results"])
def test_the_progress_of_other_photos_is_not_gone_on_from(aws, out, capsys, name):
    """One line says whose it is, or that it is nobody's."""
    about = {"source": SOURCE, "queue": aws.queue, "results": f"s3://{RESULTS}/pets/"}
    state = out.with_name(f"{out.name}.progress")
    state.write_text(json.dumps(about | {name: "other"}))
    assert 1 == score_s3.main(command(aws, out))
    assert f"is about the {name} other; expected {about[name]}, or another output\n" in capsys.readouterr().err
    state.write_text("{}")
    assert 1 == score_s3.main(command(aws, out))
    assert "expected what an earlier call wrote" in capsys.readouterr().err
