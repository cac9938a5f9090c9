"""Tests of `make forget`: by request ID, a photo is deleted from storage, review, data set and manifest."""

import hashlib
import subprocess
from pathlib import Path

import boto3
import pytest

from tests.drawing import draw, encode
from tests.training.harvest.contributions import BUCKET, SOURCE, put, request_id, save_review, write
from training.harvest.__main__ import harvest
from training.harvest.accept import accept
from training.harvest.contributed_photo import HarvestError
from training.harvest.contribution_storage import open_storage
from training.harvest.data_set import CONTRIBUTIONS, read_labels
from training.harvest.forget import forget, main
from training.harvest.ledger import read_ledger

OUT = Path("review")


@pytest.fixture
def hashes(checkout):
    """Accept three photos, and return their hashes by the number of their request."""
    found = {seed: put(encode(draw("cat", seed)), "cat", "dog", seed) for seed in (500, 501, 502)}
    harvest(SOURCE, OUT)
    save_review(OUT, decision="accept")
    accept(OUT)
    return found


def places(sha256):
    """Return where copies of a photo exist."""
    md5 = hashlib.md5(encode(draw("cat", 500)), usedforsecurity=False).hexdigest()
    return {
        "bucket": any(entry.sha256 == sha256 for entry in open_storage(SOURCE).list_entries()),
        "review": any(OUT.rglob(f"{sha256}.*")),
        "data set": any(CONTRIBUTIONS.rglob(f"{sha256}.jpg")),
        "DVC": Path(f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}").exists(),
    }


def test_photo_is_deleted_everywhere(hashes, capsys):
    """The photo is deleted from the bucket, the review, the data set and DVC's cache."""
    assert {True} == {*places(hashes[500]).values()}
    main([request_id(500), "--source", SOURCE, "--out", str(OUT)])
    assert {False} == {*places(hashes[500]).values()}
    assert {hashes[501], hashes[502]} == {Path(path).stem for path in read_labels(CONTRIBUTIONS)}
    assert f"deleted 1 photos in {SOURCE}, 1 in {OUT} and 1 in {CONTRIBUTIONS}" in capsys.readouterr().out


def test_remote_storage_is_cleared(hashes):
    """The copy in DVC's remote storage is deleted, and the version without the photo can be pushed and restored."""
    for command in (f"remote add --default s3 s3://{BUCKET}/dvc", "push --quiet"):
        dvc(command)
    before = len(stored("dvc/"))
    forget(request_id(500), SOURCE, OUT)
    assert before - 1 == len(stored("dvc/"))
    dvc("push --quiet")
    dvc("checkout --quiet data/contributions.dvc")
    assert 2 == len(read_labels(CONTRIBUTIONS))


def dvc(command):
    subprocess.run(["python", "-m", "dvc", *command.split()], check=True)


def stored(prefix):
    listed = boto3.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=prefix)
    return [item["Key"] for item in listed.get("Contents", [])]


def test_forgotten_photo_does_not_return(hashes):
    """A photo that is contributed again after its deletion is not harvested."""
    forget(request_id(500), SOURCE, OUT)
    put(encode(draw("cat", 500)), "cat", "dog", 900)
    assert [] == harvest(SOURCE, OUT)
    assert {"forgotten"} == {row.decision for row in read_ledger() if row.photo == hashes[500]}


def test_versions_of_the_bucket_are_deleted(checkout):
    """In a bucket with versioning, all versions of the photo are deleted."""
    s3 = boto3.client("s3")
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    for _ in range(2):
        put(encode(draw("cat", 500)), "cat", "dog", 500)
    assert 4 == len(s3.list_object_versions(Bucket=BUCKET)["Versions"])  # of the photo and of its request
    assert 1 == forget(request_id(500), SOURCE, OUT).stored
    assert "Versions" not in s3.list_object_versions(Bucket=BUCKET)


def test_expired_photo_is_found_by_the_ledger(hashes):
    """A photo that the bucket's lifecycle has deleted is found by the hash of its request."""
    s3 = boto3.client("s3")
    for key in stored("contributed/"):
        s3.delete_object(Bucket=BUCKET, Key=key)
    assert 1 == forget(request_id(500), SOURCE, OUT).trained
    assert not any(CONTRIBUTIONS.rglob(f"{hashes[500]}.jpg"))


def test_photo_of_a_container_is_deleted(checkout, tmp_path):
    """In a folder, only the photo and its metadata are deleted."""
    folder = tmp_path / "kept"
    paths = [write(folder, encode(draw("cat", seed)), "cat", "dog", seed) for seed in (500, 501)]
    forget(request_id(500), str(folder), OUT)
    assert {f"{paths[1]}.jpg", f"{paths[1]}.json", paths[1], request_id(501)} == {
        path.name for path in folder.rglob("*") if not any(path.glob("*/*"))
    } - {"cat"}


@pytest.mark.parametrize("source", [f"{SOURCE}2026.01.01-abc/", "contributed/cat"])
def test_part_of_the_photos_is_an_error(hashes, source):
    """A source below `contributed` is rejected before anything changes, because copies elsewhere would stay."""
    Path("contributed/cat").mkdir(parents=True)
    with pytest.raises(HarvestError, match="a part of the photos; expected"):
        forget(request_id(500), source, OUT)
    assert {True} == {*places(hashes[500]).values()}


@pytest.mark.parametrize("number", [500, 900])
@pytest.mark.parametrize("is_expired", [False, True])
def test_every_sender_of_a_photo_can_delete_it(checkout, number, is_expired):
    """The request of each sender finds the photo, although its metadata name only the last one."""
    for sender in (500, 900):
        sha256 = put(encode(draw("cat", 500)), "cat", "dog", sender)
    other = put(encode(draw("cat", 501)), "cat", "dog", 501)
    harvest(SOURCE, OUT)
    save_review(OUT, decision="accept")
    accept(OUT)
    if is_expired:
        boto3.resource("s3").Bucket(BUCKET).objects.delete()
    assert (0 if is_expired else 1, 1) == (
        (deleted := forget(request_id(number), SOURCE, OUT)).stored,
        deleted.trained,
    )
    assert {False} == {*places(sha256).values()}
    assert not [key for key in stored("contributed/") if sha256 in key]
    assert other in {Path(path).stem for path in read_labels(CONTRIBUTIONS)}
    assert [request_id(501)] == [path.name for path in OUT.glob("contributed/requests/*")]


def test_later_sender_of_an_accepted_photo_can_delete_it(hashes):
    """The next review records the request of a second contributor of an accepted photo, for later deletion."""
    put(encode(draw("cat", 500)), "cat", "dog", 900)
    harvest(SOURCE, OUT)
    accept(OUT)
    boto3.resource("s3").Bucket(BUCKET).objects.delete()
    assert 1 == forget(request_id(900), SOURCE, OUT).trained


def test_photos_of_older_functions_are_found(checkout):
    """A photo without a record of its request is found by its metadata."""
    put(encode(draw("cat", 500)), "cat", "dog", 500)
    boto3.client("s3").delete_object(Bucket=BUCKET, Key=stored("contributed/requests/")[0])
    assert 1 == forget(request_id(500), SOURCE, OUT).stored


def test_invalid_metadata_do_not_stop_the_deletion(checkout, capsys):
    """A photo without valid metadata is reported; the photo of the request is deleted, and the command fails."""
    put(encode(draw("cat", 500)), "cat", "dog", 500)
    key = f"contributed/v1/cat/{'0' * 64}.jpg"
    boto3.client("s3").put_object(Bucket=BUCKET, Key=key, Body=b"other")
    with pytest.raises(HarvestError, match=rf"1 photos have no valid metadata.*{key}"):
        main([request_id(500), "--source", SOURCE, "--out", str(OUT)])
    assert [key] == stored("contributed/")
    assert f"warning: {key} has the metadata {{}}" in capsys.readouterr().out
    with pytest.raises(HarvestError, match=r"no photo of request .* \(1 photos have no valid metadata\)"):
        forget(request_id(7), SOURCE, OUT)


def test_unknown_request_is_named(hashes):
    """A request without a photo is an error that names it; nothing is deleted."""
    with pytest.raises(HarvestError, match=rf"no photo of request '{request_id(7)}'"):
        forget(request_id(7), SOURCE, OUT)
    assert 3 == len(read_labels(CONTRIBUTIONS))


def test_interrupted_deletion_continues(hashes, monkeypatch):
    """If DVC's storage fails, the command fails, and running it again deletes the rest."""

    def fail(_photos):
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr("training.harvest.forget.delete_from_storage", fail)
        with pytest.raises(ConnectionError):
            forget(request_id(500), SOURCE, OUT)
    forget(request_id(500), SOURCE, OUT)
    assert {False} == {*places(hashes[500]).values()}
