"""Test photos that an S3 Inventory lists, as CSV, Parquet or ORC, and invalid manifests and files."""

import csv
import gzip
import io
import json

import pyarrow as pa
import pytest
from pyarrow import orc, parquet

from infra.score import __main__ as program
from infra.score.listing import S3Path, list_photos
from tests.infra.score.scored_photos import command
from tests.support.faulty_cloud import PHOTOS, RESULTS, dropping

pytestmark = pytest.mark.slow


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


def describe_inventory(source: str, file_format: str, columns: str) -> bytes:
    """Return the manifest of an inventory of a bucket, whose only file is data/0 in RESULTS."""
    manifest = {
        "sourceBucket": source,
        "destinationBucket": f"arn:aws:s3:::{RESULTS}",
        "fileFormat": file_format,
        "fileSchema": columns,
        "files": [{"key": "data/0"}],
    }
    return json.dumps(manifest).encode()


@pytest.mark.parametrize(
    ("file_format", "written"),
    [
        ("CSV", csv_file),
        ("Parquet", arrow_file(parquet.write_table)),
        ("ORC", arrow_file(orc.write_table)),
    ],
)
def test_score_reads_the_photos_of_an_inventory(faulty_aws, out, file_format, written):
    """Old versions, delete markers, folders and results are skipped; keys are decoded."""
    versions = [("a%20b.jpg", "true", "false"), ("a%20b.jpg", "false", "false"), ("gone.jpg", "true", "true")]
    versions += [("c.jpg", "true", "false"), ("pets/job/x.jsonl", "true", "false"), ("folder/", "true", "false")]
    rows = [[RESULTS, name, "v", latest, deleted] for name, latest, deleted in versions]
    faulty_aws.put("data/0", written(rows), bucket=RESULTS)
    manifest = describe_inventory(RESULTS, file_format, "Bucket, Key, VersionId, IsLatest, IsDeleteMarker")
    faulty_aws.put("inventory/manifest.json", manifest, bucket=RESULTS)
    with dropping(faulty_aws):
        assert 1 == program.main(command(faulty_aws, out, source=f"s3://{RESULTS}/inventory/manifest.json"))
    [message] = faulty_aws.messages(faulty_aws.dead)
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
def test_score_refuses_an_invalid_manifest(faulty_aws, out, capsys, manifest):
    """One line names the manifest and the supported formats."""
    faulty_aws.put("manifest.json", manifest.encode())
    assert 1 == program.main(command(faulty_aws, out, source=f"s3://{PHOTOS}/manifest.json"))
    error = f"score: s3://{PHOTOS}/manifest.json: expected the manifest of an S3 Inventory as CSV, Parquet, ORC\n"
    assert error == capsys.readouterr().err


@pytest.mark.parametrize("file_format", ["CSV", "Parquet", "ORC"])
def test_score_refuses_a_corrupt_inventory_file(faulty_aws, out, capsys, file_format):
    """One line names the file."""
    faulty_aws.put("data/0", b"broken", bucket=RESULTS)
    faulty_aws.put("manifest.json", describe_inventory(PHOTOS, file_format, "Bucket, Key"))
    assert 1 == program.main(command(faulty_aws, out, source=f"s3://{PHOTOS}/manifest.json"))
    error = f"score: s3://{RESULTS}/data/0: expected a file of an S3 Inventory as {file_format}, with Bucket, Key\n"
    assert capsys.readouterr().err.endswith(error)


def test_key_may_begin_with_a_slash(faulty_aws):
    """Only results are left out, and only in their own bucket."""
    for key in ("/2026/1.jpg", "pets/2.jpg"):
        faulty_aws.put(key, b"")
    source = S3Path(PHOTOS, "")
    listed = {
        bucket: list(list_photos(faulty_aws.s3, source, results=S3Path(bucket, "pets/"), skip=0, last_key="")[1])
        for bucket in (PHOTOS, RESULTS)
    }
    assert {PHOTOS: ["/2026/1.jpg"], RESULTS: ["/2026/1.jpg", "pets/2.jpg"]} == listed
