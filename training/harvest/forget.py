"""`make forget`: delete the photos of a request from the storage, the review, the data set and DVC's storage.

The next training run does not use them. Models that were trained before are not changed. The pictures of
`make suspects`, which may show the photos, are deleted, too.
"""

import argparse
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from lambda_app.contributions.contribution import PREFIX
from training.harvest.contributed_photo import Entry, HarvestError, Origin
from training.harvest.contribution_storage import THREADS, UNAVAILABLE, Bucket, Folder, Storage, open_storage
from training.harvest.data_set import CONTRIBUTIONS, read_folder_labels
from training.harvest.dvc_folder import POINTER, delete_from_storage, track
from training.harvest.known_photos import read_cache, write_cache
from training.harvest.ledger import (
    FORGOTTEN,
    LEDGER,
    LedgerRow,
    check_complete,
    hash_request,
    read_ledger,
    write_ledger,
)
from training.tools.suspect_sheet import remove_pages


@dataclass(frozen=True)
class Deleted:
    """The number of deleted copies."""

    in_source: int  # the bucket or folder
    in_review: int  # the folder of the review
    in_data_set: int  # data/contributions
    in_dvc: int  # DVC's cache and remote storage
    unchecked: tuple[str, ...] = ()  # the keys of the photos whose metadata names no request


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m training.harvest.forget", description=__doc__)
    parser.add_argument("request_id", help="the X-Request-ID of the prediction that was contributed")
    parser.add_argument("--source", required=True, help="s3://BUCKET/contributed/, or a folder")
    parser.add_argument("--out", type=Path, required=True, help="the folder of the review")
    options = parser.parse_args(arguments)
    deleted = forget(options.request_id, options.source, options.out)
    print(
        f"deleted {deleted.in_source} photos in {options.source}, {deleted.in_review} in {options.out}, "
        f"{deleted.in_data_set} in {CONTRIBUTIONS} and {deleted.in_dvc} copies in DVC's storage"
    )
    changed = f"{LEDGER} and {POINTER}; `make train` makes a model without them" if deleted.in_data_set else LEDGER
    print(f"commit {changed}")
    if deleted.unchecked:
        raise HarvestError(
            f"{len(deleted.unchecked)} photos have no valid metadata, so the request may have sent them, too: "
            f"{', '.join(deleted.unchecked[:5])}; check whether they belong to the request, and delete those that do"
        )


def forget(request_id: str, source: str, folder: Path) -> Deleted:
    """Delete the photos of a request everywhere. Raise `HarvestError` if no photo of the request is known.

    The ledger keeps the hashes, so that a withdrawn photo is never harvested again and the command finds copies that
    are pushed to DVC's storage later. It is written first, so that the command finds the photos again after an
    interruption.
    """
    storage = open_whole_storage(source)
    try:
        entries = list(storage.list_entries())
        requests, unchecked = read_requests(storage, entries)
        ledger, request = read_ledger(), hash_request(request_id)
        requests |= {(sender.sha256, sender.request_id) for sender in Folder(folder).list_senders()}
        photos = {photo for photo, sender in requests if sender == request_id}
        photos |= {row.photo for row in ledger if row.request == request}
        unchecked = [entry for entry in unchecked if entry.sha256 not in photos]
        if not photos:
            hidden = f" ({len(unchecked)} photos have no valid metadata)" if unchecked else ""
            raise HarvestError(
                f"no photo of request {request_id!r} in {source}, {folder} or {LEDGER}{hidden}; check the ID and SOURCE"
            )
        in_data_set = [path for path in read_folder_labels(CONTRIBUTIONS) if Path(path).stem in photos]
        check_complete()
        md5s = hash_copies((storage, Folder(folder), Folder(CONTRIBUTIONS)), photos)
        md5s |= {row.photo: row.md5 for row in ledger if row.photo in photos and row.md5}
        write_ledger(mark_forgotten(ledger, photos, request, md5s))
        in_source = delete_copies(storage, photos)
    except UNAVAILABLE as error:
        raise HarvestError(f"{source} cannot be changed: {error}; run the same command again") from None
    # DVC's copies are deleted before the files, so that the command finds these files again after an interruption.
    in_dvc = delete_from_storage(md5s.values())
    delete_from_data_set(in_data_set)
    remove_pages()
    write_cache({photo: phash for photo, phash in read_cache().items() if photo not in photos})
    in_review = delete_copies(Folder(folder), photos) if folder.is_dir() else 0
    return Deleted(in_source, in_review, len(in_data_set), in_dvc, tuple(entry.key for entry in unchecked))


def open_whole_storage(source: str) -> Storage:
    """Return the storage. Raise `HarvestError` if `source` is only a part of it: copies elsewhere would stay."""
    storage = open_storage(source)
    if isinstance(storage, Bucket) and storage.prefix.rstrip("/") not in ("", PREFIX):
        raise HarvestError(f"SOURCE is {source!r}, a part of the photos; expected s3://{storage.name}/{PREFIX}/")
    below = isinstance(storage, Folder) and PREFIX in storage.root.resolve().parts[:-1]
    if below and not (Path(source).expanduser() / PREFIX).is_dir():
        raise HarvestError(f"SOURCE is {source!r}, a part of the photos; expected the folder {PREFIX} or the one above")
    return storage


def hash_copies(storages: Iterable[Storage], photos: set[str]) -> dict[str, str]:
    """Return the MD5 of each photo that has a copy, by SHA-256. DVC names its copies by MD5."""
    return {
        entry.sha256: hashlib.md5(storage.read_photo(entry), usedforsecurity=False).hexdigest()
        for storage in storages
        for entry in storage.list_entries()
        if entry.sha256 in photos
    }


def mark_forgotten(ledger: set[LedgerRow], photos: set[str], request: str, md5s: Mapping[str, str]) -> set[LedgerRow]:
    """Return the ledger with all rows of the photos marked as forgotten, and a row of each photo for the request."""
    rows = ledger | {LedgerRow(photo, request, FORGOTTEN) for photo in photos}
    return {
        row._replace(decision=FORGOTTEN, md5=md5s.get(row.photo, "")) if row.photo in photos else row for row in rows
    }


def read_requests(storage: Storage, entries: Sequence[Entry]) -> tuple[set[tuple[str, str]], list[Entry]]:
    """Return pairs of photo and request ID, and the entries whose metadata is invalid."""

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
    """Delete photos from data/contributions, and record the folder as a new version."""
    for path in paths:
        (CONTRIBUTIONS / path).unlink()
    if POINTER.exists():
        track()


if __name__ == "__main__":
    main()
