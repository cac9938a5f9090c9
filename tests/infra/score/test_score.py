"""`make score` on 2,000 drawn photos against moto's S3 and SQS over HTTP, while everything that can go wrong does.

moto calls no function: `mapping.py` plays Lambda's event source mapping, in a process of its own that can be killed.
"""

import csv
import gzip
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pyarrow as pa
import pytest
from pyarrow import orc, parquet

from infra import score_s3
from infra.score import queue as queueing
from infra.score.photos import Place
from infra.score.queue import PER_MESSAGE
from infra.score.results import gather
from lambda_app.objects import ATTEMPTS
from tests import tiny_model
from tests.infra.score.cloud import PHOTOS, RESULTS, cloud
from tests.infra.test_runtime import ROOT

COUNT = 2_000
SOURCE = f"s3://{PHOTOS}/2026/"
NOT_THERE = "never"


@pytest.fixture(scope="module")
def moto_cloud():
    with cloud(visibility_s=6) as made:
        yield made


@pytest.fixture
def aws(moto_cloud, monkeypatch):
    moto_cloud.empty()
    for name, value in moto_cloud.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(score_s3, "POLL_S", 0.2)
    return moto_cloud


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model.write(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "predictions.parquet"


@contextmanager
def worker(aws, model):
    """A process of the function; its output ends with it."""
    settings = {"RESULTS_BUCKET": RESULTS, "RESULTS_PREFIX": "pets/", "MODEL_PATH": str(model)}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.infra.score.mapping", aws.queue],
        cwd=ROOT,
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


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


def test_each_photo_has_one_result_or_one_reason(aws, model, out, encode, capsys):
    """Though a process is killed amid its work, messages come twice, S3 fails, and photos are damaged."""
    put_photos(aws, encode, COUNT)
    aws.faults |= {("GET", "pet 7.jpg"): 2, ("GET", "pet 1002.jpg"): 2 * (ATTEMPTS.total + 1) + 1, ("PUT", "jsonl"): 2}
    done = []
    scoring = threading.Thread(target=lambda: done.append(score_s3.main(command(aws, out))))
    with worker(aws, model) as first:
        scoring.start()
        assert first.stdout.readline() == "2 messages\n"
        time.sleep(0.3)
        first.send_signal(signal.SIGKILL)
        first.wait()
        assert first.stdout.read() == ""  # it had not come to an end
        assert len(aws.results()) < 2
    with worker(aws, model) as second:
        scoring.join(timeout=60)
        second.kill()
        told = second.stdout.read()
    assert [0] == done, capsys.readouterr().err
    assert sorted((key(number), expected(number)) for number in range(COUNT)) == found(out)
    assert "1 failed" in told  # the message of pet 1002
    assert {PER_MESSAGE} == {len(lines) for lines in aws.results().values()}
    assert COUNT // PER_MESSAGE == len(aws.results())
    assert {0} == set(aws.faults.values())
    assert [] == aws.messages(aws.queue) + aws.messages(aws.dead)
    said = capsys.readouterr().out
    assert f"{COUNT} photos in {out}; no prediction: " in said
    assert f"damaged_image {COUNT // 100}" in said
    assert [out] == list(out.parent.iterdir())


def test_what_was_stopped_goes_on(aws, model, out, encode, monkeypatch):
    """Ctrl-C amid the naming: the second call names the rest, and none twice."""
    put_photos(aws, encode, 250)
    monkeypatch.setattr(queueing, "MESSAGES", 1)
    send = queueing._send

    def stopped(*arguments):
        monkeypatch.setattr(queueing, "_send", interrupted)
        send(*arguments)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(queueing, "_send", stopped)
    assert 130 == score_s3.main(command(aws, out))
    progress = json.loads(out.with_name(f"{out.name}.progress").read_text())
    assert (PER_MESSAGE, False) == (progress["photos"], progress["complete"])
    monkeypatch.setattr(queueing, "_send", send)
    with worker(aws, model):
        assert 0 == score_s3.main(command(aws, out))
    assert sorted((key(number), expected(number)) for number in range(250)) == found(out)
    assert [50, 100, 100] == sorted(len(lines) for lines in aws.results().values())


def test_a_message_that_always_fails_is_a_dead_letter(aws, out, capsys):
    """Its photos are counted as missing, and named again each by itself where that is asked for."""
    aws.sqs.send_message(QueueUrl=aws.dead, MessageBody=queueing.body("job", PHOTOS, ["2026/a.jpg", "2026/b.jpg"]))
    aws.sqs.send_message(QueueUrl=aws.dead, MessageBody='{"Records": []}')
    assert 3 == queueing.retry(aws.sqs, aws.queue, aws.dead)
    alone = [queueing.body("job", PHOTOS, [f"2026/{name}.jpg"]) for name in "ab"]
    assert sorted([*alone, '{"Records": []}']) == sorted(aws.messages(aws.queue))
    aws.empty()
    for number in range(3):
        aws.put(f"2026/{number}.jpg", b"")
    threading.Thread(target=drop, args=(aws,)).start()
    assert 1 == score_s3.main(command(aws, out))
    assert "score: 3 of 3 photos have neither a result nor a reason in s3://" in capsys.readouterr().err


def drop(aws):
    """As SQS does after the fifth failure: out of the queue, into the other."""
    while not (messages := aws.sqs.receive_message(QueueUrl=aws.queue, WaitTimeSeconds=1).get("Messages")):
        pass
    aws.sqs.send_message(QueueUrl=aws.dead, MessageBody=messages[0]["Body"])
    aws.sqs.delete_message(QueueUrl=aws.queue, ReceiptHandle=messages[0]["ReceiptHandle"])


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
    threading.Thread(target=drop, args=(aws,)).start()
    assert 1 == score_s3.main(command(aws, out, source=f"s3://{RESULTS}/inventory/manifest.json"))
    [message] = aws.messages(aws.dead)
    assert (RESULTS, ["a b.jpg", "c.jpg"]) == (json.loads(message)["bucket"], json.loads(message)["keys"])


@pytest.mark.parametrize("manifest", ["no JSON", "{}", '{"fileFormat": "Avro", "sourceBucket": "b", "files": []}'])
def test_another_manifest_is_refused(aws, out, capsys, manifest):
    """By one line that names it and what is read."""
    aws.put("manifest.json", manifest.encode())
    assert 1 == score_s3.main(command(aws, out, source=f"s3://{PHOTOS}/manifest.json"))
    error = f"score: s3://{PHOTOS}/manifest.json: expected the manifest of an S3 Inventory as CSV, Parquet, ORC\n"
    assert error == capsys.readouterr().err


def test_of_several_lines_about_a_photo_the_last_counts(aws, out):
    """It was named twice, and its bytes had changed; photos of another bucket or version are others."""

    def line(etag, bucket=PHOTOS, version=None):
        return json.dumps({"bucket": bucket, "key": 'a, "etag": .jpg', "version": version, "etag": etag}) + "\n"

    aws.put("job/1", (line("old") + line("other", bucket="b")).encode(), bucket=RESULTS)
    time.sleep(1.1)  # S3 dates objects to the second
    aws.put("job/0", (line("new") + line("another", version="v")).encode(), bucket=RESULTS)
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
        ([SOURCE, "--out", "predictions.csv"], "'predictions.csv': expected FILE.parquet in a folder that exists"),
    ],
)
def test_bad_arguments(arguments, complaint, capsys):
    """Exit code 2, and what was expected."""
    with pytest.raises(SystemExit, match="2"):
        score_s3.main([*arguments, "--queue", "q", "--results", "s3://results/pets/"])
    assert complaint in capsys.readouterr().err


def test_the_progress_of_other_photos_is_not_gone_on_from(aws, out, capsys):
    """One line says whose it is."""
    out.with_name(f"{out.name}.progress").write_text(json.dumps({"source": "s3://others/"}))
    assert 1 == score_s3.main(command(aws, out))
    assert f"is about s3://others/; expected {SOURCE}, or another output\n" in capsys.readouterr().err
