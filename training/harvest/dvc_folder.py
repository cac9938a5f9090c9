"""Track data/contributions with DVC: one version per change, so that restoring a version undoes later changes."""

from collections.abc import Collection
from typing import Any

from dvc.config import NoRemoteError
from dvc.exceptions import DvcException
from dvc.repo import Repo

from training.harvest.contributed_photo import HarvestError
from training.harvest.contribution_storage import UNAVAILABLE
from training.harvest.data_set import CONTRIBUTIONS

POINTER = CONTRIBUTIONS.with_suffix(".dvc")


def track() -> None:
    """Record the folder as a new version, as `dvc add` does. Raise `HarvestError` with DVC's message if that fails."""
    try:
        with Repo() as repo:
            repo.add(str(CONTRIBUTIONS))
    except DvcException as error:
        raise HarvestError(f"`dvc add {CONTRIBUTIONS}` failed: {error}") from None


def delete_from_storage(md5s: Collection[str]) -> int:
    """Delete files from DVC's cache and, if there is one, its remote storage. Return the number of copies.

    Older versions of the data set still list these files, but can no longer restore them. Raise `HarvestError` if
    the cache or the remote storage cannot be changed.
    """
    try:
        with Repo() as repo:
            stores = [repo.cache.local]
            try:
                stores.append(repo.cloud.get_remote_odb())
            except NoRemoteError:
                print("DVC has no remote storage; only its cache is searched")
            return sum(delete_copy(store, md5) for store in stores for md5 in md5s)
    except (OSError, DvcException, *UNAVAILABLE) as error:
        raise HarvestError(f"DVC's storage cannot be changed: {error}; run the same command again") from None


def delete_copy(store: Any, md5: str) -> bool:
    """Delete a file from a store of DVC, in S3 with all its versions. Return whether there was one."""
    if store.fs.protocol == "s3":
        return delete_versions(store.fs.fs, store.oid_to_path(md5))
    if is_stored := bool(store.exists(md5)):
        store.delete(md5)
    return is_stored


def delete_versions(s3: Any, path: str) -> bool:
    """Delete all versions and delete markers of an S3 object. Return whether there was one.

    `s3` is DVC's connection: the configuration of the remote may name an endpoint and credentials of its own.
    """
    bucket, key, _ = s3.split_path(path)
    is_stored = False
    while versions := list_versions(s3, bucket, key):  # at most 1,000 at a time
        is_stored = True
        for version in versions:
            s3.call_s3("delete_object", Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])
    return is_stored


def list_versions(s3: Any, bucket: str, key: str) -> list[dict[str, Any]]:
    page = s3.call_s3("list_object_versions", Bucket=bucket, Prefix=key)
    return [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
