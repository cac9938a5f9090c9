"""`make forget`: delete the photos of a request from the storage, the review, the data set, and DVC's storage.

The next training does not use them. Models that were trained before are not changed.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from training.harvest.contributed_photo import Entry, HarvestError
from training.harvest.contribution_storage import UNAVAILABLE, Folder, Storage, open_storage
from training.harvest.data_set import CONTRIBUTIONS, read_labels
from training.harvest.dvc_folder import POINTER, check_complete, delete_from_storage, track
from training.harvest.known_photos import read_cache, write_cache
from training.harvest.ledger import FORGOTTEN, LEDGER, Decided, hash_request, read_ledger, write_ledger


@dataclass(frozen=True)
class Deleted:
    """The number of deleted copies."""

    stored: int  # in the bucket or folder
    reviewed: int  # in the folder of a review
    trained: int  # in data/contributions


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m training.harvest.forget", description=__doc__)
    parser.add_argument("request_id", help="the X-Request-ID of the prediction that was contributed")
    parser.add_argument("--source", required=True, help="s3://BUCKET/contributed/, or a folder")
    parser.add_argument("--out", type=Path, required=True, help="the folder of the review")
    options = parser.parse_args(arguments)
    deleted = forget(options.request_id, options.source, options.out)
    print(
        f"deleted {deleted.stored} photos in {options.source}, {deleted.reviewed} in {options.out} and "
        f"{deleted.trained} in {CONTRIBUTIONS}"
    )
    if deleted.trained:
        print(f"commit {POINTER} and {LEDGER}; `make train` trains a model without them")


def forget(request_id: str, source: str, folder: Path) -> Deleted:
    """Delete the photos of a request everywhere. Raise `HarvestError` if no photo of the request is known.

    The ledger keeps the hashes, so that a withdrawn photo is never harvested again. It is written first, so that the
    command finds the photos again after an interruption.
    """
    storage = open_storage(source)
    try:
        entries = find_entries(storage, request_id)
        ledger, request = read_ledger(), hash_request(request_id)
        photos = {entry.sha256 for entry in entries} | {row.photo for row in ledger if row.request == request}
        if not photos:
            raise HarvestError(f"no photo of request {request_id!r} in {source} or {LEDGER}; check the ID and SOURCE")
        in_data_set = [path for path in read_labels(CONTRIBUTIONS) if Path(path).stem in photos]
        check_complete()
        write_ledger(mark_forgotten(ledger, photos, request))
        for entry in entries:
            storage.delete(entry)
    except UNAVAILABLE as error:
        raise HarvestError(f"{source} cannot be changed: {error}; run the same command again") from None
    delete_from_data_set(in_data_set)
    write_cache({photo: phash for photo, phash in read_cache().items() if photo not in photos})
    return Deleted(len(entries), delete_reviews(folder, photos), len(in_data_set))


def mark_forgotten(ledger: set[Decided], photos: set[str], request: str) -> set[Decided]:
    """Return the ledger with all rows of the photos marked as forgotten."""
    marked = {row._replace(decision=FORGOTTEN) if row.photo in photos else row for row in ledger}
    return marked | {Decided(photo, request, FORGOTTEN) for photo in photos}


def find_entries(storage: Storage, request_id: str) -> list[Entry]:
    """Return all entries of the photos that a request contributed, also under other labels and by other requests."""
    listed = list(storage.list_entries())
    bar = tqdm(listed, desc="search", unit="photo")
    photos = {entry.sha256 for entry in bar if storage.read_origin(entry).request_id == request_id}
    return [entry for entry in listed if entry.sha256 in photos]


def delete_from_data_set(paths: Sequence[str]) -> None:
    """Delete photos from DVC's storage and from data/contributions, and record the folder as a new version.

    DVC's copies are deleted first, so that the command still finds the files in the folder after an interruption.
    """
    if paths:
        delete_from_storage((CONTRIBUTIONS / path).read_bytes() for path in paths)
    for path in paths:
        (CONTRIBUTIONS / path).unlink()
    if POINTER.exists():
        track()


def delete_reviews(folder: Path, photos: set[str]) -> int:
    """Delete photos from the folder of a review, and return their number."""
    if not folder.is_dir():
        return 0
    copies = Folder(folder)
    entries = [entry for entry in copies.list_entries() if entry.sha256 in photos]
    for entry in entries:
        copies.delete(entry)
    return len(entries)


if __name__ == "__main__":
    main()
