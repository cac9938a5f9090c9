"""Test `make forget`: by request ID, a photo is deleted from bucket, review, data set and DVC's storage."""

import hashlib
import shutil
from contextlib import chdir
from pathlib import Path

import boto3
import pytest
from dvc.repo import Repo

from tests.support.drawing import draw, encode_image
from tests.training.harvest.contributions import BUCKET, OUT, SOURCE, put, request_id, save_review, write
from training.harvest.__main__ import harvest
from training.harvest.accept import accept
from training.harvest.contributed_photo import HarvestError
from training.harvest.contribution_storage import open_storage
from training.harvest.data_set import CONTRIBUTIONS, read_folder_labels
from training.harvest.dvc_folder import POINTER
from training.harvest.forget import forget, main
from training.harvest.ledger import FORGOTTEN, LEDGER, LedgerRow, hash_request, read_ledger
from training.tools.suspect_sheet import SHEET

PHOTO = encode_image(draw("cat", 500))
MD5 = hashlib.md5(PHOTO, usedforsecurity=False).hexdigest()
COPY = f"files/md5/{MD5[:2]}/{MD5[2:]}"  # below DVC's cache and its remote storage


@pytest.fixture
def hashes(checkout):
    """Accept three photos, and return their hashes by the number of their request."""
    found = {seed: put(encode_image(draw("cat", seed)), "cat", "dog", seed) for seed in (500, 501, 502)}
    harvest(SOURCE, OUT)
    save_review(OUT, decision="accept")
    accept(OUT)
    return found


def find_copies(sha256):
    """Return for each place whether it has a copy of a photo. `DVC` is checked for the first photo only."""
    return {
        "bucket": any(entry.sha256 == sha256 for entry in open_storage(SOURCE).list_entries()),
        "review": any(OUT.rglob(f"{sha256}.*")),
        "data set": any(CONTRIBUTIONS.rglob(f"{sha256}.jpg")),
        "DVC": Path(".dvc/cache", COPY).exists(),
    }


def test_photo_is_deleted_everywhere(hashes, capsys):
    """The photo is deleted from the bucket, the review, the data set and DVC's cache."""
    assert {True} == {*find_copies(hashes[500]).values()}
    main([request_id(500), "--source", SOURCE, "--out", str(OUT)])
    assert {False} == {*find_copies(hashes[500]).values()}
    assert {hashes[501], hashes[502]} == {Path(path).stem for path in read_folder_labels(CONTRIBUTIONS)}
    expected = f"deleted 1 photos in {SOURCE}, 1 in {OUT}, 1 in {CONTRIBUTIONS} and 1 copies in DVC's storage"
    assert expected in capsys.readouterr().out


def test_remote_storage_is_cleared(hashes):
    """DVC's remote storage has no version of the photo, and the data set without it can be pushed and restored."""
    s3 = boto3.client("s3")
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    use_remote(f"s3://{BUCKET}/dvc")
    push()
    pushed = versions("dvc/")
    s3.put_object(Bucket=BUCKET, Key=f"dvc/{COPY}", Body=PHOTO)
    s3.delete_object(Bucket=BUCKET, Key=f"dvc/{COPY}")  # hides two versions
    assert 2 == forget(request_id(500), SOURCE, OUT).in_dvc
    assert [key for key in pushed if key != f"dvc/{COPY}"] == versions("dvc/")
    push()
    with Repo() as repo:
        repo.checkout([str(POINTER)])
    assert 2 == len(read_folder_labels(CONTRIBUTIONS))


def test_remote_folder_is_cleared(hashes, tmp_path):
    """The copy in a remote storage without versions is deleted."""
    use_remote(tmp_path / "remote")
    shutil.copytree(".dvc/cache", "remote")
    pushed = {path for path in Path("remote").rglob("*") if path.is_file()}
    assert 2 == forget(request_id(500), SOURCE, OUT).in_dvc
    assert pushed - {Path("remote", COPY)} == {path for path in Path("remote").rglob("*") if path.is_file()}


def test_copy_that_is_pushed_again_is_deleted(hashes, tmp_path):
    """A copy that another checkout pushes after the deletion is deleted when the command is repeated."""
    use_remote(f"s3://{BUCKET}/dvc")
    other = shutil.copytree(tmp_path, tmp_path.with_name("other"), symlinks=True)
    forget(request_id(500), SOURCE, OUT)
    push(other)
    assert [f"dvc/{COPY}"] == versions(f"dvc/{COPY}")
    again = forget(request_id(500), SOURCE, OUT)
    assert (0, 0, 1) == (again.in_source, again.in_data_set, again.in_dvc)
    assert [] == versions(f"dvc/{COPY}")


@pytest.mark.parametrize("is_expired", [False, True])
def test_photo_of_a_reverted_review_is_deleted(hashes, is_expired):
    """After the commit of a review was reverted, the photo in the bucket or in the review leads to DVC's copy."""
    shutil.rmtree(CONTRIBUTIONS)
    for path in (POINTER, LEDGER):
        path.unlink()
    if is_expired:
        boto3.resource("s3").Bucket(BUCKET).objects.delete()
    else:
        shutil.rmtree(OUT)
    assert 1 == forget(request_id(500), SOURCE, OUT).in_dvc
    assert {False} == {*find_copies(hashes[500]).values()}


def use_remote(url):
    Path(".dvc/config").write_text(f"[core]\n    remote = storage\n['remote \"storage\"']\n    url = {url}\n")


def push(folder="."):
    """Do what `dvc push` does, in this process, which has already imported DVC."""
    with chdir(folder), Repo() as repo:
        repo.push()


def versions(prefix):
    """Return the sorted keys of all versions and delete markers."""
    listed = boto3.client("s3").list_object_versions(Bucket=BUCKET, Prefix=prefix)
    return sorted(item["Key"] for item in (*listed.get("Versions", ()), *listed.get("DeleteMarkers", ())))


def stored(prefix):
    listed = boto3.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=prefix)
    return [item["Key"] for item in listed.get("Contents", [])]


def test_forgotten_photo_does_not_return(hashes):
    """A photo that is contributed again after its deletion is not harvested; the ledger adds its new request."""
    forget(request_id(500), SOURCE, OUT)
    put(PHOTO, "cat", "dog", 900)
    assert [] == harvest(SOURCE, OUT)
    accept(OUT)
    assert {LedgerRow(hashes[500], hash_request(request_id(number)), FORGOTTEN, MD5) for number in (500, 900)} == {
        row for row in read_ledger() if row.photo == hashes[500]
    }


def test_ledger_without_md5_is_read(tmp_path):
    """A ledger of an earlier version, which has no MD5, is read."""
    (tmp_path / "ledger.csv").write_text("photo,request,decision\na,b,forgotten\n")
    assert {LedgerRow("a", "b", FORGOTTEN)} == read_ledger(tmp_path / "ledger.csv")


def test_pictures_of_suspects_are_deleted(checkout):
    """The pictures of `make suspects`, which may show the photo, are deleted."""
    put(PHOTO, "cat", "dog", 500)
    pages = [SHEET, SHEET.with_stem(f"{SHEET.stem}-2")]
    for page in pages:
        page.touch()
    forget(request_id(500), SOURCE, OUT)
    assert not any(page.exists() for page in pages)


def test_versions_of_the_bucket_are_deleted(checkout):
    """In a bucket with versioning, all versions of the photo are deleted."""
    s3 = boto3.client("s3")
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    for _ in range(2):
        put(PHOTO, "cat", "dog", 500)
    assert 4 == len(s3.list_object_versions(Bucket=BUCKET)["Versions"])  # of the photo and of its request
    assert 1 == forget(request_id(500), SOURCE, OUT).in_source
    assert "Versions" not in s3.list_object_versions(Bucket=BUCKET)


def test_expired_photo_is_found_by_the_ledger(hashes):
    """A photo that the bucket's lifecycle has deleted is found by the hash of its request."""
    s3 = boto3.client("s3")
    for key in stored("contributed/"):
        s3.delete_object(Bucket=BUCKET, Key=key)
    assert 1 == forget(request_id(500), SOURCE, OUT).in_data_set
    assert not any(CONTRIBUTIONS.rglob(f"{hashes[500]}.jpg"))


def test_photo_in_a_folder_is_deleted(checkout, tmp_path):
    """In a folder, only the photo, its metadata and the record of its request are deleted."""
    folder = tmp_path / "kept"
    hashes = [write(folder, encode_image(draw("cat", seed)), "cat", "dog", seed) for seed in (500, 501)]
    forget(request_id(500), str(folder), OUT)
    names = {f"{hashes[1]}.jpg", f"{hashes[1]}.json", hashes[1]}  # the last is the record of the request
    assert names == {path.name for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("source", [f"{SOURCE}2026.01.01-abc/", "contributed/cat"])
def test_part_of_the_photos_is_an_error(hashes, source):
    """A source below `contributed` is rejected before anything changes, because copies elsewhere would stay."""
    Path("contributed/cat").mkdir(parents=True)
    with pytest.raises(HarvestError, match="a part of the photos; expected"):
        forget(request_id(500), source, OUT)
    assert {True} == {*find_copies(hashes[500]).values()}


@pytest.mark.parametrize("number", [500, 900])
@pytest.mark.parametrize("is_expired", [False, True])
def test_every_sender_of_a_photo_can_delete_it(checkout, number, is_expired):
    """The request of each sender finds the photo, although its metadata names only the last one."""
    for sender in (500, 900):
        sha256 = put(PHOTO, "cat", "dog", sender)
    other = put(encode_image(draw("cat", 501)), "cat", "dog", 501)
    harvest(SOURCE, OUT)
    save_review(OUT, decision="accept")
    accept(OUT)
    if is_expired:
        boto3.resource("s3").Bucket(BUCKET).objects.delete()
    deleted = forget(request_id(number), SOURCE, OUT)
    assert (0 if is_expired else 1, 1) == (deleted.in_source, deleted.in_data_set)
    assert {False} == {*find_copies(sha256).values()}
    assert not [key for key in stored("contributed/") if sha256 in key]
    assert other in {Path(path).stem for path in read_folder_labels(CONTRIBUTIONS)}
    assert [request_id(501)] == [path.name for path in OUT.glob("contributed/requests/*")]


def test_later_sender_of_an_accepted_photo_can_delete_it(hashes):
    """The next review records the request of a second contributor of an accepted photo, for later deletion."""
    put(PHOTO, "cat", "dog", 900)
    harvest(SOURCE, OUT)
    accept(OUT)
    boto3.resource("s3").Bucket(BUCKET).objects.delete()
    assert 1 == forget(request_id(900), SOURCE, OUT).in_data_set


def test_photos_of_older_functions_are_found(checkout):
    """A photo without a record of its request is found by its metadata."""
    put(PHOTO, "cat", "dog", 500)
    boto3.client("s3").delete_object(Bucket=BUCKET, Key=stored("contributed/requests/")[0])
    assert 1 == forget(request_id(500), SOURCE, OUT).in_source


def test_invalid_metadata_do_not_stop_the_deletion(checkout, capsys):
    """A photo without valid metadata is reported; the photo of the request is deleted, and the command fails."""
    put(PHOTO, "cat", "dog", 500)
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
    assert 3 == len(read_folder_labels(CONTRIBUTIONS))


def test_failed_deletion_can_be_repeated(hashes):
    """If DVC's remote storage fails, the command fails, and running it again deletes the rest."""
    use_remote("s3://bucket-that-does-not-exist/dvc")
    with pytest.raises(HarvestError, match=r"DVC's storage cannot be changed: .*run the same command again"):
        forget(request_id(500), SOURCE, OUT)
    use_remote(f"s3://{BUCKET}/dvc")
    assert 1 == forget(request_id(500), SOURCE, OUT).in_data_set
    assert {False} == {*find_copies(hashes[500]).values()}
