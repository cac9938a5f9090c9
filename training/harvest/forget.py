"""`make forget`: delete the photos of a request from the storage, the review, the data set, and DVC's storage.

The next training does not use them. Models that were trained before are not changed.
"""

import argparse
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from lambda_app.contributions.contribution import PREFIX
from training.harvest.contributed_photo import Entry, HarvestError, Origin
from training.harvest.contribution_storage import THREADS, UNAVAILABLE, Bucket, Folder, Storage, open_storage
from training.harvest.data_set import CONTRIBUTIONS, read_labels
from training.harvest.dvc_folder import POINTER, delete_from_storage, track
from training.harvest.known_photos import read_cache, write_cache
from training.harvest.ledger import (
    FORGOTTEN,
    LEDGER,
    Decided,
    check_complete,
    hash_request,
    read_ledger,
    write_ledger,
)


@dataclass(frozen=True)
class Deleted:
    """The number of deleted copies."""

    stored: int  # in the bucket or folder
    reviewed: int  # in the folder of a review
    trained: int  # in data/contributions
    unchecked: tuple[str, ...] = ()  # the keys of the photos whose metadata name no request


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
        print(f"commit {POINTER} and {LEDGER}; `make train` makes a model without them")
    if deleted.unchecked:
        raise HarvestError(
            f"{len(deleted.unchecked)} photos have no valid metadata, so the request may have sent them, too: "
            f"{', '.join(deleted.unchecked[:5])}; delete them, or look at them, as nothing names their sender"
        )


def forget(request_id: str, source: str, folder: Path) -> Deleted:
    """Delete the photos of a request everywhere. Raise `HarvestError` if no photo of the request is known.

    The ledger keeps the hashes, so that a withdrawn photo is never harvested again. It is written first, so that the
    command finds the photos again after an interruption.
    """
    storage = open_whole_storage(source)
    try:
        entries = list(storage.list_entries())
        requests, unchecked = read_requests(storage, entries)
        ledger, request = read_ledger(), hash_request(request_id)
        photos = {photo for photo, sender in requests if sender == request_id}
        photos |= {row.photo for row in ledger if row.request == request}
        unchecked = [entry for entry in unchecked if entry.sha256 not in photos]
        if not photos:
            hidden = f" ({len(unchecked)} photos have no valid metadata)" if unchecked else ""
            raise HarvestError(
                f"no photo of request {request_id!r} in {source} or {LEDGER}{hidden}; check the ID and SOURCE"
            )
        in_data_set = [path for path in read_labels(CONTRIBUTIONS) if Path(path).stem in photos]
        check_complete()
        write_ledger(mark_forgotten(ledger, photos, request))
        stored = delete_copies(storage, photos)
    except UNAVAILABLE as error:
        raise HarvestError(f"{source} cannot be changed: {error}; run the same command again") from None
    delete_from_data_set(in_data_set)
    write_cache({photo: phash for photo, phash in read_cache().items() if photo not in photos})
    reviewed = delete_copies(Folder(folder), photos) if folder.is_dir() else 0
    return Deleted(stored, reviewed, len(in_data_set), tuple(entry.key for entry in unchecked))


def open_whole_storage(source: str) -> Storage:
    """Return the storage. Raise `HarvestError` if `source` is only a part of it: copies elsewhere would stay."""
    storage = open_storage(source)
    if isinstance(storage, Bucket) and storage.prefix.rstrip("/") not in ("", PREFIX):
        raise HarvestError(f"SOURCE is {source!r}, a part of the photos; expected s3://{storage.name}/{PREFIX}/")
    below = isinstance(storage, Folder) and PREFIX in storage.root.resolve().parts[:-1]
    if below and not (Path(source).expanduser() / PREFIX).is_dir():
        raise HarvestError(f"SOURCE is {source!r}, a part of the photos; expected the folder {PREFIX} or the one above")
    return storage


def mark_forgotten(ledger: set[Decided], photos: set[str], request: str) -> set[Decided]:
    """Return the ledger with all rows of the photos marked as forgotten."""
    marked = {row._replace(decision=FORGOTTEN) if row.photo in photos else row for row in ledger}
    return marked | {Decided(photo, request, FORGOTTEN) for photo in photos}


def read_requests(storage: Storage, entries: Sequence[Entry]) -> tuple[set[tuple[str, str]], list[Entry]]:
    """Return pairs of photo and request ID, and the entries whose metadata are invalid."""

    def read(entry: Entry) -> Origin | None:
        try:
            return storage.read_origin(entry)
        except HarvestError as error:
            print(f"warning: {error}")
            return None

    requests = {(sender.sha256, sender.request_id) for sender in storage.list_senders()}
    with ThreadPoolExecutor(THREADS) as pool:
        origins = list(tqdm(pool.map(read, entries), total=len(entries), desc="search", unit="photo"))
    found = list(zip(entries, origins, strict=True))
    requests |= {(entry.sha256, origin.request_id) for entry, origin in found if origin}
    return requests, [entry for entry, origin in found if origin is None]


def delete_copies(storage: Storage, photos: set[str]) -> int:
    """Delete the photos under all labels, and what names their senders; return how many photos there were."""
    entries = [entry for entry in storage.list_entries() if entry.sha256 in photos]
    for entry in entries:
        storage.delete(entry)
    for sender in list(storage.list_senders()):
        if sender.sha256 in photos:
            storage.delete(sender)
    return len(entries)


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


if __name__ == "__main__":
    main()
