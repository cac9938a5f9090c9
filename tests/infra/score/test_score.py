"""Test `make score` on drawn photos, against moto's S3 and SQS over HTTP, with injected failures.

moto does not invoke functions. `event_source_mapping.py` replaces Lambda's event source mapping: in a process of its
own where a test kills it, and otherwise in a thread.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from unittest.mock import Mock

import pytest

from infra.score import __main__ as program
from infra.score import queue as score_queue
from infra.score.queue import PHOTOS_PER_MESSAGE
from lambda_app.batch.objects import RETRIES
from tests.infra.score.scored_photos import SOURCE, command, expected, key, put_photos, rows_of
from tests.support import ROOT
from tests.support.faulty_cloud import PHOTOS, RESULTS
from tests.support.waiting import DEADLINE_S

pytestmark = pytest.mark.slow

COUNT = 1_100  # more than one page of an S3 listing, and more messages than one request to SQS has


@contextmanager
def process(faulty_aws, function_environment):
    """Run the function in a process, and kill the process at the end."""
    worker = subprocess.Popen(
        [sys.executable, "-m", "tests.support.event_source_mapping", faulty_aws.queue],
        cwd=ROOT,
        env=os.environ | function_environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield worker
    finally:
        worker.kill()
        worker.communicate()


@pytest.mark.process
def test_score_gives_each_photo_one_prediction_or_error(faulty_aws, function_environment, out, encode, capsys):
    """Each photo has one row, although a process is killed, messages arrive twice, S3 fails and photos are damaged."""
    put_photos(faulty_aws, encode, COUNT)
    faulty_aws.faults |= {
        ("GET", "pet 7.jpg"): 2,
        ("GET", "pet 1002.jpg"): 2 * (RETRIES.total + 1) + 1,
        ("PUT", "jsonl"): 2,
    }
    faulty_aws.photos_flow.clear()
    exit_codes = []
    scoring = threading.Thread(target=lambda: exit_codes.append(program.main(command(faulty_aws, out))), daemon=True)
    with process(faulty_aws, function_environment) as first:
        scoring.start()
        receipt = first.stdout.readline().strip()
        assert faulty_aws.photo_read.wait(DEADLINE_S)
        first.send_signal(signal.SIGKILL)
        first.wait()
        assert first.stdout.read() == ""  # it was killed before it reported a result
        assert {} == faulty_aws.results()
    faulty_aws.photos_flow.set()
    faulty_aws.make_visible(receipt)
    with process(faulty_aws, function_environment) as second:
        scoring.join()
        second.kill()
        log = second.stdout.read()
    assert [0] == exit_codes, capsys.readouterr().err
    assert sorted((key(number), expected(number)) for number in range(COUNT)) == rows_of(out)
    assert "failed" in log  # the message of pet 1002
    assert {PHOTOS_PER_MESSAGE} == {len(lines) for lines in faulty_aws.results().values()}
    assert COUNT // PHOTOS_PER_MESSAGE == len(faulty_aws.results())
    assert {0} == set(faulty_aws.faults.values())
    assert [] == faulty_aws.messages(faulty_aws.queue) + faulty_aws.messages(faulty_aws.dead)
    output = capsys.readouterr().out
    assert f"{COUNT} photos in {out}; no prediction: " in output
    assert f"damaged_image {COUNT // 100}" in output
    assert [out] == list(out.parent.iterdir())


@pytest.mark.process
def test_score_resumes_after_an_interrupt(faulty_aws, function_thread, out, encode, monkeypatch):
    """After Ctrl-C while sending, the second call sends the remaining photos, and none twice."""
    put_photos(faulty_aws, encode, 250)
    monkeypatch.setattr(score_queue, "MAX_MESSAGES", 1)
    send = score_queue.send_messages

    def send_once(*arguments):
        monkeypatch.setattr(score_queue, "send_messages", Mock(side_effect=KeyboardInterrupt))
        send(*arguments)

    monkeypatch.setattr(score_queue, "send_messages", send_once)
    assert 130 == program.main(command(faulty_aws, out))
    progress = json.loads(out.with_name(f"{out.name}.progress").read_text())
    assert (PHOTOS_PER_MESSAGE, False) == (progress["photos"], progress["complete"])
    monkeypatch.setattr(score_queue, "send_messages", send)
    with function_thread():
        assert 0 == program.main(command(faulty_aws, out))
    assert sorted((key(number), expected(number)) for number in range(250)) == rows_of(out)
    assert [50, 100, 100] == sorted(len(lines) for lines in faulty_aws.results().values())


def test_score_without_photos_fails(faulty_aws, out, capsys):
    """A source without photos, such as a mistyped prefix, is an error, and the last output stays."""
    source = f"s3://{PHOTOS}/2062/"
    out.write_bytes(b"results of an earlier job")
    assert 0 != program.main(command(faulty_aws, out, source=source))
    assert f"{source}: expected photos, found none" in capsys.readouterr().err
    assert b"results of an earlier job" == out.read_bytes()


@pytest.mark.parametrize("name", ["source", "queue", "results"])
def test_score_refuses_the_state_file_of_another_job(faulty_aws, out, capsys, name):
    """One line names the difference, or says that the file is invalid."""
    job = {"source": SOURCE, "queue": faulty_aws.queue, "results": f"s3://{RESULTS}/pets/"}
    state = out.with_name(f"{out.name}.progress")
    state.write_text(json.dumps(job | {name: "other"}))
    assert 1 == program.main(command(faulty_aws, out))
    assert f"belongs to the {name} other; expected {job[name]}, or another --out\n" in capsys.readouterr().err
    state.write_text("{}")
    assert 1 == program.main(command(faulty_aws, out))
    assert "is not a state file of this program" in capsys.readouterr().err
