"""Test gathering the results of a job into one file, with a row for each photo."""

import json
from datetime import UTC, datetime

import pytest
from botocore.exceptions import BotoCoreError
from pyarrow import parquet

from infra.score import __main__ as program
from infra.score.dead_letters import GAVE_UP
from infra.score.gather import BODY_ATTEMPTS, gather
from infra.score.listing import S3Path
from tests.infra.score.scored_photos import rows_of
from tests.support.faulty_cloud import PHOTOS, RESULTS

pytestmark = pytest.mark.slow

EARLIER, LATER = (datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC) for second in (0, 1))  # S3 dates objects to the second


def test_gather_prefers_a_result_to_gave_up(faulty_aws, out):
    """A result counts, even if its message was given up after the result was written."""
    line = {"bucket": PHOTOS, "key": "a.jpg", "version": None, "etag": "e"}
    faulty_aws.put("pets/job/2026.01.01/x.jsonl", json.dumps(line).encode(), bucket=RESULTS, written=EARLIER)
    given_up = json.dumps(line | {"etag": None, "error_code": GAVE_UP}).encode()
    faulty_aws.put(f"pets/job/{GAVE_UP}/x.jsonl", given_up, bucket=RESULTS, written=LATER)
    assert {"": 1} == gather(faulty_aws.s3, S3Path(RESULTS, "pets/job/"), out)


def test_gather_option_gathers_the_results_of_notifications(faulty_aws, out, capsys):
    """`--gather` needs neither a queue nor a source, and reports a job without results."""
    line = {"bucket": PHOTOS, "key": "a.jpg", "version": None, "etag": "e", "predicted_class": "cat"}
    faulty_aws.put("pets/notified/m/x.jsonl", json.dumps(line).encode(), bucket=RESULTS)
    arguments = ["--results", f"s3://{RESULTS}/pets/", "--out", str(out), "--gather"]
    assert 0 == program.main([*arguments, "notified"])
    assert [("a.jpg", "cat")] == rows_of(out)
    assert 1 == program.main([*arguments, "other"])
    assert capsys.readouterr().err.endswith(f"score: s3://{RESULTS}/pets/other/: expected results, found none\n")


def test_gather_retries_a_body_that_breaks_off(faulty_aws, out):
    """A body that breaks off is read again; after `BODY_ATTEMPTS`, the error is raised."""
    faulty_aws.put("pets/job/m/x.jsonl", b'{"bucket": "b", "key": "a", "version": null, "etag": "e"}', bucket=RESULTS)
    faulty_aws.cuts["x.jsonl"] = BODY_ATTEMPTS - 1
    assert 1 == gather(faulty_aws.s3, S3Path(RESULTS, "pets/job/"), out).total()
    faulty_aws.cuts["x.jsonl"] = BODY_ATTEMPTS
    with pytest.raises(BotoCoreError):
        gather(faulty_aws.s3, S3Path(RESULTS, "pets/job/"), out)


def test_gather_reports_an_interrupt_of_duckdb(faulty_aws, out, monkeypatch, capsys):
    """On Ctrl-C, DuckDB raises `RuntimeError`; the exit code and the message are those of any interrupt."""

    def interrupt(*_):
        raise RuntimeError("Query interrupted")

    monkeypatch.setattr("infra.score.gather.duckdb.connect", interrupt)
    arguments = ["--results", f"s3://{RESULTS}/pets/", "--out", str(out), "--gather", "job"]
    assert 130 == program.main(arguments)
    assert capsys.readouterr().err.endswith("score: interrupted; run the same command again to resume\n")


def test_gather_reports_a_corrupt_result(faulty_aws, out, capsys):
    """The exit code is 1, and the output file is not written."""
    faulty_aws.put("pets/job/m/x.jsonl", b'{"bucket": "b", "key"', bucket=RESULTS)
    assert 1 == program.main(["--results", f"s3://{RESULTS}/pets/", "--out", str(out), "--gather", "job"])
    assert "score: Invalid Input Error: Malformed JSON" in capsys.readouterr().err
    assert not out.exists()


def test_gather_keeps_the_latest_result_of_a_photo(faulty_aws, out):
    """The latest result of a photo counts; the same key in another bucket or version is another photo."""

    def line(etag, bucket=PHOTOS, version=None):
        return json.dumps({"bucket": bucket, "key": 'a, "etag": .jpg', "version": version, "etag": etag}) + "\n"

    old, new = line("old") + line("other", bucket="b"), line("new") + line("another", version="v")
    faulty_aws.put("job/1", old.encode(), bucket=RESULTS, written=EARLIER)
    faulty_aws.put("job/0", new.encode(), bucket=RESULTS, written=LATER)
    assert 3 == gather(faulty_aws.s3, S3Path(RESULTS, "job/"), out).total()
    assert {"new", "other", "another"} == {row["etag"] for row in parquet.read_table(out).to_pylist()}
