"""Track data/contributions with DVC: one version per change, so that restoring a version undoes later changes."""

import hashlib
from collections.abc import Iterable

from dvc.config import NoRemoteError
from dvc.exceptions import DvcException
from dvc.repo import Repo

from training.harvest.contributed_photo import HarvestError
from training.harvest.data_set import CONTRIBUTIONS

POINTER = CONTRIBUTIONS.with_suffix(".dvc")


def track() -> None:
    """Record the folder as a new version, as `dvc add` does. Raise `HarvestError` with DVC's message if that fails."""
    try:
        with Repo() as repo:
            repo.add(str(CONTRIBUTIONS))
    except DvcException as error:
        raise HarvestError(f"`dvc add {CONTRIBUTIONS}` failed: {error}") from None


def delete_from_storage(photos: Iterable[bytes]) -> int:
    """Delete photos from DVC's cache and, if there is one, its remote storage. Return the number of copies.

    Older versions of the data set still list these photos, but can no longer restore them.
    """
    with Repo() as repo:
        stores = [repo.cache.local]
        try:
            stores.append(repo.cloud.get_remote_odb())
        except NoRemoteError:
            print("DVC has no remote storage; deleted the photos from its cache only")
        digests = [hashlib.md5(photo, usedforsecurity=False).hexdigest() for photo in photos]
        copies = [(store, digest) for store in stores for digest in digests if store.exists(digest)]
        for store, digest in copies:
            store.delete(digest)
    return len(copies)
