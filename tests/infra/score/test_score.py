"""`make score` on 1,100 drawn photos, against moto's S3 and SQS over HTTP, with injected failures.

moto does not invoke functions. `mapping.py` stands in for Lambda's event source mapping: in a process of its own where
a test kills it, and otherwise in a thread.
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

from infra.score import __main__ as program
from infra.score import progress as score_progress
from infra.score import queue as score_queue
from infra.score.dead_letters import GAVE_UP, Outcome, process_dead_letters
from infra.score.gather import BODY_ATTEMPTS, gather
from infra.score.listing import S3Path
from infra.score.queue import PHOTOS_PER_MESSAGE
from lambda_app.batch import handler as batch
from lambda_app.batch.objects import RETRIES, read_message
from tests import tiny_model
from tests.conftest import ROOT
from tests.infra.score.cloud import PHOTOS, REGION, RESULTS, cloud
from tests.infra.score.mapping import poll

pytestmark = pytest.mark.slow

COUNT = 1_100  # more than one page of an S3 listing, and more messages than one request to SQS has
SOURCE = f"s3://{PHOTOS}/2026/"
EARLIER, LATER = (datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC) for second in (0, 1))  # S3 dates objects to the second


one_session = functools.cache(Session)  # a new session reads the service descriptions, which takes half a second


@pytest.fixture(scope="module")
def moto_cloud(moto):
    with cloud(moto) as faulty_cloud:
        yield faulty_cloud


@pytest.fixture
def aws(moto_cloud, monkeypatch):
    moto_cloud.empty()
    for name, value in moto_cloud.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(score_progress, "POLL_S", 0.05)
    monkeypatch.setattr(score_progress, "QUIET_S", 0.3)  # moto's counts are exact
    monkeypatch.setattr("infra.score.dead_letters.WAIT_S", 0)
    monkeypatch.setattr(program, "Session", one_session)
    return moto_cloud


@pytest.fixture
def out(tmp_path):
    return tmp_path / "predictions.parquet"


@pytest.fixture(scope="module")
def function(tmp_path_factory):
    """Return the function's environment variables."""
    model = tiny_model.write(tmp_path_factory.mktemp("model") / "tiny.onnx")
    return {"RESULTS_BUCKET": RESULTS, "RESULTS_PREFIX": "pets/", "MODEL_PATH": str(model)}


@contextmanager
def process(aws, function):
    """Run the function in a process, and kill the process at the end."""
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
def function_thread(aws, function, tiny_classifier, monkeypatch):
    """Return a context in which the function runs in a thread of this process."""
    settings = batch.BatchSettings.from_env(function | {"SERVICE_NAME": "score-test"})
    s3 = one_session().create_client("s3", REGION, config=batch.S3_CONFIG)
    scorer = batch.Scorer(tiny_classifier, settings, s3, Credentials("test", "test"))
    monkeypatch.setattr(batch, "scorer", lambda: scorer)

    @contextmanager
    def run_function():
        stop = threading.Event()
        thread = threading.Thread(target=poll, args=(aws.sqs, aws.queue, stop, lambda _: None))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    return run_function


def command(aws, out, *more, source=SOURCE):
    return [source, "--queue", aws.queue, "--results", f"s3://{RESULTS}/pets/", "--out", str(out), *more]


def expected(number):
    """Return the class or the error code of photo `number`."""
    errors = {40: "damaged_image", 41: "unsupported_image", 42: "no_file"}
    return errors.get(number % 100) or ("cat", "dog")[number % 2]


def key(number):
    return f"2026/{number % 7}/pet {number}.jpg"


def put_photos(aws, encode, count):
    """Upload photos in ten shades of each class, some of them invalid."""
    drawn = [encode((200 + shade, 0, 0) if shade % 2 == 0 else (0, 0, 200 + shade), (64, 64)) for shade in range(20)]
    invalid = {"damaged_image": drawn[0][:300], "unsupported_image": b"text", "no_file": b""}
    for number in range(count):
        aws.put(key(number), invalid.get(expected(number), drawn[number % 20]))
    aws.put("2026/folder/", b"")


def rows_of(out):
    rows = parquet.read_table(out).to_pylist()
    return sorted((row["key"], row["predicted_class"] or row["error_code"]) for row in rows)


@pytest.mark.process
def test_score_gives_each_photo_one_prediction_or_error(aws, function, out, encode, capsys):
    """This holds if a process is killed, messages come twice, S3 fails, and photos are damaged."""
    put_photos(aws, encode, COUNT)
    aws.faults |= {("GET", "pet 7.jpg"): 2, ("GET", "pet 1002.jpg"): 2 * (RETRIES.total + 1) + 1, ("PUT", "jsonl"): 2}
    aws.photos_flow.clear()
    exit_codes = []
    scoring = threading.Thread(target=lambda: exit_codes.append(program.main(command(aws, out))))
    with process(aws, function) as first:
        scoring.start()
        receipt = first.stdout.readline().strip()
        assert aws.photo_read.wait(300)
        first.send_signal(signal.SIGKILL)
        first.wait()
        assert first.stdout.read() == ""  # it was killed before it reported a result
        assert {} == aws.results()
    aws.photos_flow.set()
    aws.make_visible(receipt)
    with process(aws, function) as second:
        scoring.join()
        second.kill()
        log = second.stdout.read()
    assert [0] == exit_codes, capsys.readouterr().err
    assert sorted((key(number), expected(number)) for number in range(COUNT)) == rows_of(out)
    assert "failed" in log  # the message of pet 1002
    assert {PHOTOS_PER_MESSAGE} == {len(lines) for lines in aws.results().values()}
    assert COUNT // PHOTOS_PER_MESSAGE == len(aws.results())
    assert {0} == set(aws.faults.values())
    assert [] == aws.messages(aws.queue) + aws.messages(aws.dead)
    output = capsys.readouterr().out
    assert f"{COUNT} photos in {out}; no prediction: " in output
    assert f"damaged_image {COUNT // 100}" in output
    assert [out] == list(out.parent.iterdir())


@pytest.mark.process
def test_score_resumes_after_an_interrupt(aws, function_thread, out, encode, monkeypatch):
    """After Ctrl-C while sending, the second call sends the remaining photos, and none twice."""
    put_photos(aws, encode, 250)
    monkeypatch.setattr(score_queue, "MAX_MESSAGES", 1)
    send = score_queue.send_messages

    def send_once(*arguments):
        monkeypatch.setattr(score_queue, "send_messages", interrupt)
        send(*arguments)

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(score_queue, "send_messages", send_once)
    assert 130 == program.main(command(aws, out))
    progress = json.loads(out.with_name(f"{out.name}.progress").read_text())
    assert (PHOTOS_PER_MESSAGE, False) == (progress["photos"], progress["complete"])
    monkeypatch.setattr(score_queue, "send_messages", send)
    with function_thread():
        assert 0 == program.main(command(aws, out))
    assert sorted((key(number), expected(number)) for number in range(250)) == rows_of(out)
    assert [50, 100, 100] == sorted(len(lines) for lines in aws.results().values())


@pytest.mark.process
def test_retry_sends_each_photo_alone_and_then_gives_it_up(aws, function_thread, out, encode, capsys, monkeypatch):
    """A photo that also fails alone gets an error; the others of its message get predictions."""
    for number in range(3):
        aws.put(f"2026/{number}.jpg", encode("red"))
    with dropping(aws):
        assert 1 == program.main(command(aws, out))
    assert "score: 3 of 3 photos have neither a prediction nor an error in s3://" in capsys.readouterr().err

    def wait(*arguments, **names):
        drop(aws, "1.jpg")
        with function_thread():
            score_progress.wait_for_results(*arguments, **names)

    monkeypatch.setattr(program, "wait_for_results", wait)
    assert 1 == program.main(command(aws, out, "--retry"))
    monkeypatch.setattr(program, "wait_for_results", score_progress.wait_for_results)
    output = capsys.readouterr()
    assert "photos of dead letters: 3 sent again, each alone; 0 given up\n" in output.out
    assert "score: 1 of 3 photos have neither" in output.err
    assert 0 == program.main(command(aws, out, "--retry"))
    output = capsys.readouterr()
    assert "photos of dead letters: 0 sent again, each alone; 1 given up\n" in output.out
    assert f"3 photos in {out}; no prediction: {GAVE_UP} 1\n" in output.out
    assert [("2026/0.jpg", "cat"), ("2026/1.jpg", GAVE_UP), ("2026/2.jpg", "cat")] == rows_of(out)


def drop(aws, name=""):
    """Move the first message that contains the name to the dead letters, as SQS does after the fifth failure."""
    match, others = None, []
    while not match:
        for message in aws.sqs.receive_message(QueueUrl=aws.queue, WaitTimeSeconds=1).get("Messages", []):
            if name in message["Body"]:
                match = message
            else:
                others.append(message["ReceiptHandle"])
    aws.sqs.send_message(QueueUrl=aws.dead, MessageBody=match["Body"])
    aws.sqs.delete_message(QueueUrl=aws.queue, ReceiptHandle=match["ReceiptHandle"])
    for receipt in others:
        aws.make_visible(receipt)


@contextmanager
def dropping(aws):
    """Move the first message to the dead letters as soon as it arrives."""
    thread = threading.Thread(target=drop, args=(aws,), daemon=True)
    thread.start()
    yield
    thread.join(60)
    assert not thread.is_alive(), "no message came"


RECORDS = [
    {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": PHOTOS}, "object": {"key": key, "versionId": "v"}}}
    for key in ("a+b.jpg", "c.jpg")
]


def test_dead_letters_of_notifications_are_retried(aws):
    """Each photo is sent again with its version, and given up with a row under the name of its message."""
    aws.sqs.send_message(QueueUrl=aws.dead, MessageBody=json.dumps({"Records": RECORDS}))
    results = S3Path.parse(f"s3://{RESULTS}/pets/")
    assert [Outcome("notified", retried=2)] == list(process_dead_letters(aws.s3, aws.sqs, aws.queue, aws.dead, results))
    alone = aws.messages(aws.queue)
    assert RECORDS == [record for body in alone for record in json.loads(body)["Records"]]
    for body in alone:
        aws.sqs.send_message(QueueUrl=aws.dead, MessageBody=body)
    assert [Outcome("notified", gave_up=1)] * 2 == list(
        process_dead_letters(aws.s3, aws.sqs, aws.queue, aws.dead, results)
    )
    names = {f"pets/notified/{GAVE_UP}/{read_message(body).digest()}.jsonl" for body in alone}
    assert names == aws.results().keys()
    lines = [(line["key"], line["version"], line["error_code"]) for each in aws.results().values() for line in each]
    assert [("a b.jpg", "v", GAVE_UP), ("c.jpg", "v", GAVE_UP)] == sorted(lines)


def test_malformed_dead_letters_are_deleted(aws, out, capsys):
    """They are counted, and valid letters after them are processed."""
    letters = ["no JSON", "[]", "{}", '{"Records": [{}]}', '{"job": "job", "bucket": "b"}']
    for body in (*letters, score_queue.format_message("job", PHOTOS, ["a.jpg"])):
        aws.sqs.send_message(QueueUrl=aws.dead, MessageBody=body)
    assert 0 == program.main(command(aws, out, "--retry"))
    output = capsys.readouterr().out
    assert f"{len(letters)} dead letters named no photo and were deleted\n" in output
    assert "photos of dead letters: 1 sent again" in output
    assert [] == aws.messages(aws.dead)


def test_gather_prefers_a_result_to_gave_up(aws, out):
    """The message may have written its result before its last failure was counted."""
    line = {"bucket": PHOTOS, "key": "a.jpg", "version": None, "etag": "e"}
    aws.put("pets/job/2026.01.01/x.jsonl", json.dumps(line).encode(), bucket=RESULTS, written=EARLIER)
    given_up = json.dumps(line | {"etag": None, "error_code": GAVE_UP}).encode()
    aws.put(f"pets/job/{GAVE_UP}/x.jsonl", given_up, bucket=RESULTS, written=LATER)
    assert {"": 1} == gather(aws.s3, S3Path(RESULTS, "pets/job/"), out)


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
def test_wait_ends_with_the_last_result_of_the_job(aws, function_thread, out, encode, monkeypatch):
    """The queue may hold other messages, for example S3's notifications."""
    monkeypatch.setattr(score_progress, "count_messages", lambda _sqs, queue: 5 if queue == aws.queue else 1)
    monkeypatch.setattr(score_progress, "QUIET_S", 3600)
    put_photos(aws, encode, 10)
    with function_thread():
        assert 0 == program.main(command(aws, out))
    assert 10 == len(rows_of(out))


def wait_for_a_missing_result(aws):
    folder = S3Path(RESULTS, "pets/missing/")
    score_progress.wait_for_results(aws.s3, aws.sqs, folder, 1, queue=aws.queue, dead_letters=aws.dead)


def test_wait_ends_if_all_missing_results_may_be_dead_letters(aws, clock, monkeypatch):
    """It ends even if the queue is never empty."""
    monkeypatch.setattr(score_progress, "count_messages", lambda _sqs, queue: 5 if queue == aws.queue else 1)
    wait_for_a_missing_result(aws)
    assert 60 == clock.now


def test_wait_continues_while_the_queue_is_briefly_empty(aws, clock, monkeypatch):
    """SQS's counts are approximate, so the queue must be empty for `QUIET_S`."""
    counts = iter([3, 0, 0, 3, 0, 0] + [0] * 100)
    polls = []

    def count_messages(_sqs, queue):
        if queue != aws.queue:
            return 0
        polls.append(queue)
        return next(counts)

    monkeypatch.setattr(score_progress, "count_messages", count_messages)
    wait_for_a_missing_result(aws)
    assert (3 * 5 + 60, 3 + 60 / 5 + 1) == (clock.now, len(polls))  # the fourth poll sees the last message


def test_gather_option_gathers_the_results_of_notifications(aws, out, capsys):
    """It needs neither a queue nor a source. A job without results is an error."""
    line = {"bucket": PHOTOS, "key": "a.jpg", "version": None, "etag": "e", "predicted_class": "cat"}
    aws.put("pets/notified/m/x.jsonl", json.dumps(line).encode(), bucket=RESULTS)
    arguments = ["--results", f"s3://{RESULTS}/pets/", "--out", str(out), "--gather"]
    assert 0 == program.main([*arguments, "notified"])
    assert [("a.jpg", "cat")] == rows_of(out)
    assert 1 == program.main([*arguments, "other"])
    assert capsys.readouterr().err.endswith(f"score: s3://{RESULTS}/pets/other/: expected results, found none\n")


def test_gather_retries_a_body_that_breaks_off(aws, out):
    """After the last attempt, the error is raised."""
    aws.put("pets/job/m/x.jsonl", b'{"bucket": "b", "key": "a", "version": null, "etag": "e"}', bucket=RESULTS)
    aws.cuts["x.jsonl"] = BODY_ATTEMPTS - 1
    assert 1 == gather(aws.s3, S3Path(RESULTS, "pets/job/"), out).total()
    aws.cuts["x.jsonl"] = BODY_ATTEMPTS
    with pytest.raises(BotoCoreError):
        gather(aws.s3, S3Path(RESULTS, "pets/job/"), out)


def test_gather_reports_an_interrupt_of_duckdb(aws, out, monkeypatch, capsys):
    """On Ctrl-C, DuckDB raises `RuntimeError`; the exit code and the message are those of any interrupt."""

    def interrupt(*_):
        raise RuntimeError("Query interrupted")

    monkeypatch.setattr("infra.score.gather.duckdb.connect", interrupt)
    arguments = ["--results", f"s3://{RESULTS}/pets/", "--out", str(out), "--gather", "job"]
    assert 130 == program.main(arguments)
    assert capsys.readouterr().err.endswith("score: interrupted; run the same command again to resume\n")


def test_gather_reports_a_corrupt_result(aws, out, capsys):
    """The exit code is 1, and the output file is not written."""
    aws.put("pets/job/m/x.jsonl", b'{"bucket": "b", "key"', bucket=RESULTS)
    assert 1 == program.main(["--results", f"s3://{RESULTS}/pets/", "--out", str(out), "--gather", "job"])
    assert "score: Invalid Input Error: Malformed JSON" in capsys.readouterr().err
    assert not out.exists()


def csv_file(rows):
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(rows)
    return gzip.compress(text.getvalue().encode())


def arrow_file(writer):
    def write(rows):
        names = ["bucket", "key", "version_id", "is_latest", "is_delete_marker"]
        columns = [
            [value == "true" if name.startswith("is_") else value for value in column]
            for name, column in zip(names, zip(*rows, strict=True), strict=True)
        ]
        columns[1] = [name.replace("%20", " ") for name in columns[1]]  # only CSV has encoded keys
        sink = io.BytesIO()
        writer(pa.table(dict(zip(names, columns, strict=True))), sink)
        return sink.getvalue()

    return write


@pytest.mark.parametrize(
    ("file_format", "written"),
    [
        ("CSV", csv_file),
        ("Parquet", arrow_file(parquet.write_table)),
        ("ORC", arrow_file(orc.write_table)),
    ],
)
def test_score_reads_the_photos_of_an_inventory(aws, out, file_format, written):
    """Old versions, delete markers, folders and results are skipped; keys are decoded."""
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
        assert 1 == program.main(command(aws, out, source=f"s3://{RESULTS}/inventory/manifest.json"))
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
def test_score_refuses_an_invalid_manifest(aws, out, capsys, manifest):
    """One line names the manifest and the supported formats."""
    aws.put("manifest.json", manifest.encode())
    assert 1 == program.main(command(aws, out, source=f"s3://{PHOTOS}/manifest.json"))
    error = f"score: s3://{PHOTOS}/manifest.json: expected the manifest of an S3 Inventory as CSV, Parquet, ORC\n"
    assert error == capsys.readouterr().err


@pytest.mark.parametrize("file_format", ["CSV", "Parquet", "ORC"])
def test_score_refuses_a_corrupt_inventory_file(aws, out, capsys, file_format):
    """One line names the file."""
    aws.put("data/0", b"broken", bucket=RESULTS)
    manifest = {
        "sourceBucket": PHOTOS,
        "destinationBucket": f"arn:aws:s3:::{RESULTS}",
        "fileFormat": file_format,
        "fileSchema": "Bucket, Key",
        "files": [{"key": "data/0"}],
    }
    aws.put("manifest.json", json.dumps(manifest).encode())
    assert 1 == program.main(command(aws, out, source=f"s3://{PHOTOS}/manifest.json"))
    error = f"score: s3://{RESULTS}/data/0: expected a file of an S3 Inventory as {file_format}, with Bucket, Key\n"
    assert capsys.readouterr().err.endswith(error)


def test_gather_keeps_the_latest_result_of_a_photo(aws, out):
    """Photos of another bucket or version are different photos."""

    def line(etag, bucket=PHOTOS, version=None):
        return json.dumps({"bucket": bucket, "key": 'a, "etag": .jpg', "version": version, "etag": etag}) + "\n"

    old, new = line("old") + line("other", bucket="b"), line("new") + line("another", version="v")
    aws.put("job/1", old.encode(), bucket=RESULTS, written=EARLIER)
    aws.put("job/0", new.encode(), bucket=RESULTS, written=LATER)
    assert 3 == gather(aws.s3, S3Path(RESULTS, "job/"), out).total()
    assert {"new", "other", "another"} == {row["etag"] for row in parquet.read_table(out).to_pylist()}


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


def test_pack_requests_keeps_the_limits_of_sqs():
    """A request holds ten messages or about a mebibyte, whichever comes first."""
    sizes = [
        [len(text) for _, text in request]
        for request in score_queue.pack_requests(([], "x" * size) for size in (400_000, 400_000, 400_000, *([1] * 12)))
    ]
    assert [[400_000, 400_000], [400_000, *([1] * 9)], [1, 1, 1]] == sizes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["photos/"], "'photos/': expected s3://BUCKET/PREFIX"),
        ([SOURCE, "--gather", "notified"], "not allowed with argument"),
        ([SOURCE, "--out", "predictions.csv"], "'predictions.csv': expected FILE.parquet in a folder that exists"),
    ],
)
def test_main_refuses_bad_arguments(arguments, message, capsys):
    """The exit code is 2, and the message has the expectation."""
    with pytest.raises(SystemExit, match="2"):
        program.main([*arguments, "--queue", "q", "--results", "s3://results/pets/"])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", ["source", "queue", "results"])
def test_score_refuses_the_state_file_of_another_job(aws, out, capsys, name):
    """One line names the difference, or says that the file is invalid."""
    job = {"source": SOURCE, "queue": aws.queue, "results": f"s3://{RESULTS}/pets/"}
    state = out.with_name(f"{out.name}.progress")
    state.write_text(json.dumps(job | {name: "other"}))
    assert 1 == program.main(command(aws, out))
    assert f"belongs to the {name} other; expected {job[name]}, or another --out\n" in capsys.readouterr().err
    state.write_text("{}")
    assert 1 == program.main(command(aws, out))
    assert "is not a state file of this program" in capsys.readouterr().err
